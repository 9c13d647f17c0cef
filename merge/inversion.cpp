// How well an ingredient follows from two soups, with it and without it.
#include "merge/inversion.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "merge/block_loop.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

constexpr std::uint64_t inversion_block_elements = 65536;

// Sums of squares.
struct Squares {
  double error = 0.0;
  double difference = 0.0;
};

// A tensor's elements as doubles.
class DoubleReader {
 public:
  explicit DoubleReader(const Weights& weights) : weights_(weights) {}

  std::span<const double> read(const WeightTensor& like, const Block& block) {
    const std::size_t tensor = weights_.same(like);
    weights_.read_on(tensor, block.first, block.count, bytes_);
    values_.resize(block.count);
    decode(weights_.tensors()[tensor].dtype, bytes_, values_);
    return values_;
  }

 private:
  const Weights& weights_;
  std::vector<std::byte> bytes_;
  std::vector<double> values_;
};

Squares squares_of(std::span<const double> before, std::span<const double> after, std::span<const double> ingredient,
                   double total_weight, double weight) {
  Squares squares;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double revealed = (total_weight * before[i] - (total_weight - weight) * after[i]) / weight;
    const double error = revealed - ingredient[i];
    const double difference = ingredient[i] - after[i];
    squares.error += error * error;
    squares.difference += difference * difference;
  }
  return squares;
}

}  // namespace

Inversion measure_inversion(std::span<const InversionPart> parts, std::int64_t total_weight, std::int64_t weight,
                            int threads) {
  SOUP_REQUIRE(weight >= 1 && weight < total_weight, "the soup after has a weight of its own");
  Inversion inversion;
  Squares all;
  for (const InversionPart& part : parts) {
    const std::span<const WeightTensor> tensors = part.ingredient->tensors();
    // Each block's sums have their place, and are added in order.
    std::vector<std::size_t> first_block;
    std::size_t blocks = 0;
    for (const WeightTensor& tensor : tensors) {
      first_block.push_back(blocks);
      blocks += (tensor.elements + inversion_block_elements - 1) / inversion_block_elements;
      inversion.elements += is_floating(tensor.dtype) ? static_cast<std::int64_t>(tensor.elements) : 0;
    }
    std::vector<Squares> squares(blocks);
    BlockLoop loop;
    loop.threads = threads;
    loop.block_elements = inversion_block_elements;
    loop.run(tensors, [&](std::size_t) {
      return [&, before = DoubleReader(*part.before), after = DoubleReader(*part.after),
              ingredient = DoubleReader(*part.ingredient)](const Block& block) mutable {
        const WeightTensor& tensor = tensors[block.tensor];
        if (is_floating(tensor.dtype)) {
          squares[first_block[block.tensor] + block.first / inversion_block_elements] =
              squares_of(before.read(tensor, block), after.read(tensor, block), ingredient.read(tensor, block),
                         static_cast<double>(total_weight), static_cast<double>(weight));
        }
      };
    });
    for (const Squares& block : squares) {
      all.error += block.error;
      all.difference += block.difference;
    }
  }
  const auto elements = static_cast<double>(std::max<std::int64_t>(inversion.elements, 1));
  inversion.rms_error = std::sqrt(all.error / elements);
  inversion.rms_difference = std::sqrt(all.difference / elements);
  return inversion;
}

}  // namespace soup
