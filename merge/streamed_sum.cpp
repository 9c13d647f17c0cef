// Sums of weights files, tensor block by tensor block: the arithmetic of `soup merge`, `add` and `remove`.
#include "merge/streamed_sum.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/error.hpp"
#include "merge/fixed_point.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

struct Buffers {
  std::vector<std::int64_t> sums;
  std::vector<float> floats;
  std::vector<double> doubles;
  std::vector<std::byte> bytes;
};

// Elements [begin, begin + count) of a tensor.
std::span<const std::byte> piece(const SafetensorsFile& file, const TensorInfo& tensor, std::uint64_t begin,
                                 std::uint64_t count) {
  const std::size_t size = size_of(tensor.dtype);
  return file.bytes(tensor).subspan(begin * size, count * size);
}

double add_block(const WeightedFile& term, const TensorInfo& like, std::uint64_t begin, std::uint64_t count,
                 std::int64_t guard_weight, int scale_bits, Buffers& buffers) {
  const TensorInfo* tensor = term.file->find(like.name);
  SOUP_REQUIRE(tensor != nullptr && tensor->dtype == like.dtype && tensor->shape == like.shape,
               "files with other tensors were not refused before");
  const std::span<const std::byte> bytes = piece(*term.file, *tensor, begin, count);
  const std::string where =
      fmt::format("{}: ingredient {}, tensor {}", term.file->path().string(), term.name, like.name);
  const std::span<std::int64_t> sums = std::span(buffers.sums).first(count);
  if (like.dtype == DType::f64) {
    buffers.doubles.resize(count);
    decode(bytes, buffers.doubles);
    return accumulate(buffers.doubles, term.weight, guard_weight, scale_bits, where, sums, begin);
  }
  buffers.floats.resize(count);
  decode(like.dtype, bytes, buffers.floats);
  return accumulate(buffers.floats, term.weight, guard_weight, scale_bits, where, sums, begin);
}

// The start's sums, after a look whether its weights are what they give.
void load_start(const SumStart& start, const TensorInfo& like, std::uint64_t begin, std::uint64_t count,
                Buffers& buffers) {
  const TensorInfo* sums = start.accumulator->find(like.name);
  const TensorInfo* weights = start.soup->find(like.name);
  const DType dtype = soup_dtype(like.dtype, start.scale);
  if (sums == nullptr || sums->dtype != DType::i64 || sums->shape != like.shape || weights == nullptr ||
      weights->dtype != dtype || weights->shape != like.shape) {
    throw DataError(start.accumulator->path(), fmt::format("does not fit tensor {} of the soup", like.name));
  }
  const std::span<const std::byte> bytes = piece(*start.accumulator, *sums, begin, count);
  std::memcpy(buffers.sums.data(), bytes.data(), bytes.size());
  finish_as(dtype, std::span(buffers.sums).first(count), start.scale, buffers.bytes);
  if (!std::ranges::equal(buffers.bytes, piece(*start.soup, *weights, begin, count))) {
    throw DataError(
        start.accumulator->path(),
        fmt::format("its sums of tensor {} do not give the soup's weights in {}", like.name,
                    start.soup->path().string()),
        "one of the two files was changed: delete the accumulator folder to rebuild it from the ingredients");
  }
}

}  // namespace

void stream_sum(std::span<WeightedFile> terms, const SumStart* start, const SoupScale& scale,
                std::size_t block_elements, SoupFileWriter& out) {
  SOUP_REQUIRE(block_elements > 0, "blocks of no elements");
  // Taking an ingredient out passes through sums of the larger soup.
  const std::int64_t guard_weight =
      std::max(scale.total_weight, start == nullptr ? scale.total_weight : start->scale.total_weight);
  Buffers buffers;
  buffers.sums.resize(block_elements);
  const std::span<const TensorInfo> tensors = out.like().tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    if (!is_floating(tensor.dtype)) {
      continue;
    }
    const std::uint64_t elements = (tensor.end - tensor.begin) / size_of(tensor.dtype);
    for (std::uint64_t begin = 0; begin < elements; begin += block_elements) {
      const std::uint64_t count = std::min<std::uint64_t>(block_elements, elements - begin);
      if (start != nullptr) {
        load_start(*start, tensor, begin, count, buffers);
      } else {
        std::fill_n(buffers.sums.begin(), count, 0);
      }
      for (WeightedFile& term : terms) {
        term.largest =
            std::max(term.largest, add_block(term, tensor, begin, count, guard_weight, scale.scale_bits, buffers));
      }
      out.put(i, begin, std::span(buffers.sums).first(count));
    }
  }
}

}  // namespace soup
