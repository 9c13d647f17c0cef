// The soup from resident weights: quantise, all-reduce integers in bounded buckets, divide once, round once.
#include "merge/soup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

// A piece of one tensor inside a bucket.
struct Piece {
  const TensorSlot* tensor = nullptr;
  std::uint64_t first_index = 0;  // element of the tensor
  std::uint64_t begin = 0;        // element of the bucket
  std::uint64_t count = 0;
};

std::vector<Piece> pieces_of(const TensorLayout& layout, std::uint64_t offset, std::uint64_t count) {
  std::vector<Piece> pieces;
  for (const TensorSlot& slot : layout.slots()) {
    const std::uint64_t begin = std::max(slot.offset, offset);
    const std::uint64_t end = std::min(slot.offset + slot.count, offset + count);
    if (begin < end) {
      pieces.push_back({&slot, begin - slot.offset, begin - offset, end - begin});
    }
  }
  return pieces;
}

std::string text_of(const TensorLayout& layout) {
  nlohmann::json tensors = nlohmann::json::array();
  for (const TensorSlot& slot : layout.slots()) {
    tensors.push_back({slot.name, slot.shape});
  }
  return tensors.dump();
}

TensorLayout layout_of(const std::string& text) {
  TensorLayout layout;
  for (const auto& tensor : nlohmann::json::parse(text)) {
    layout.append(tensor[0].get<std::string>(), tensor[1].get<std::vector<std::int64_t>>());
  }
  return layout;
}

// All ranks must have the layout and base of rank 0.
void agree_on_form(Communicator& comm, const TensorLayout& layout, const Digest& base_digest) {
  const std::string first = broadcast_text(comm, comm.rank() == 0 ? text_of(layout) : std::string(), 0);
  std::string first_base = broadcast_text(comm, base_digest.hex(), 0);
  agreed(comm, [&] {
    const std::string difference = layout.difference(layout_of(first), fmt::format("rank {}", comm.rank()), "rank 0");
    if (!difference.empty()) {
      throw DataError("soup", difference, "ingredients of one soup are trained from one base, with one configuration");
    }
    if (base_digest.hex() != first_base) {
      throw DataError(
          "soup", fmt::format("the base is {} on rank {} and {} on rank 0", base_digest.hex(), comm.rank(), first_base),
          "ingredients of one soup are trained from one base");
    }
  });
}

// Reads all of this rank's ingredients once: finite, and how large.
std::vector<SoupTerm> inspect(const TensorLayout& layout, std::span<const SoupIngredient> mine,
                              std::size_t bucket_elements, std::vector<std::map<std::string, double>>& largest) {
  std::vector<SoupTerm> terms;
  std::vector<float> scratch(std::min<std::uint64_t>(bucket_elements, layout.count()));
  for (const SoupIngredient& ingredient : mine) {
    if (ingredient.weight < 1) {
      throw ConfigError(fmt::format("ingredient {} has weight {}, but weights are integers from 1", ingredient.name,
                                    ingredient.weight));
    }
    SoupTerm term{ingredient.name, ingredient.weight, 0.0};
    std::map<std::string, double>& of_tensor = largest.emplace_back();
    for (std::uint64_t offset = 0; offset < layout.count(); offset += scratch.size()) {
      const std::uint64_t count = std::min<std::uint64_t>(scratch.size(), layout.count() - offset);
      const std::span<const float> values = ingredient.read(offset, std::span(scratch).first(count));
      for (const Piece& piece : pieces_of(layout, offset, count)) {
        const double found = largest_magnitude(
            values.subspan(piece.begin, piece.count),
            fmt::format("ingredient {}, tensor {}", ingredient.name, piece.tensor->name), piece.first_index);
        double& most = of_tensor[piece.tensor->name];
        most = std::max(most, found);
        term.largest = std::max(term.largest, found);
      }
    }
    terms.push_back(std::move(term));
  }
  return terms;
}

// Every rank's terms, sorted by name.
std::vector<SoupTerm> gather_terms(Communicator& comm, const std::vector<SoupTerm>& mine) {
  nlohmann::json text = nlohmann::json::array();
  for (const SoupTerm& term : mine) {
    text.push_back({term.name, term.weight, term.largest});
  }
  std::vector<SoupTerm> terms;
  for (const std::string& of_rank : all_gather_text(comm, text.dump())) {
    for (const auto& term : nlohmann::json::parse(of_rank)) {
      terms.push_back({term[0].get<std::string>(), term[1].get<std::int64_t>(), term[2].get<double>()});
    }
  }
  std::ranges::sort(terms, {}, &SoupTerm::name);
  return terms;
}

std::int64_t total_weight_of(const std::vector<SoupTerm>& terms, int scale_bits) {
  if (terms.empty()) {
    throw ConfigError("a soup needs at least one ingredient, but no rank brings any");
  }
  std::int64_t total = 0;
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (i > 0 && terms[i].name == terms[i - 1].name) {
      throw ConfigError(fmt::format("two ingredients are named {}", terms[i].name));
    }
    if (__builtin_add_overflow(total, terms[i].weight, &total)) {
      throw ConfigError("the ingredients' weights add up to more than 2^63");
    }
  }
  require_valid_scale(scale_bits, total);
  return total;
}

}  // namespace

WeightReader resident(std::span<const float> weights) {
  return [weights](std::uint64_t offset, std::span<float> scratch) {
    SOUP_REQUIRE(
        offset + scratch.size() <= weights.size(),
        fmt::format("elements {} to {} of {} resident weights", offset, offset + scratch.size(), weights.size()));
    return weights.subspan(offset, scratch.size());
  };
}

WeightReader from_weights(const Weights& weights, const TensorLayout& layout) {
  std::map<std::string_view, std::size_t> index;  // views of the layout's names
  for (const TensorSlot& slot : layout.slots()) {
    const std::optional<std::size_t> found = weights.find(slot.name);
    if (!found) {
      throw DataError(weights.path(), "holds no tensor " + slot.name);
    }
    const WeightTensor& tensor = weights.tensors()[*found];
    if (tensor.shape != slot.shape || !is_floating(tensor.dtype) || tensor.dtype == DType::f64) {
      throw DataError(weights.path(), fmt::format("tensor {} ({}, {} elements) does not fit the layout's {} floats",
                                                  tensor.name, name_of(tensor.dtype), tensor.elements, slot.count));
    }
    index.emplace(slot.name, *found);
  }
  return [&weights, &layout, index, bytes = std::vector<std::byte>()](
             std::uint64_t offset, std::span<float> scratch) mutable -> std::span<const float> {
    for (const Piece& piece : pieces_of(layout, offset, scratch.size())) {
      const std::size_t tensor = index.at(piece.tensor->name);
      const DType dtype = weights.tensors()[tensor].dtype;
      bytes.resize(piece.count * size_of(dtype));
      weights.read(tensor, piece.first_index, bytes);
      decode(dtype, bytes, scratch.subspan(piece.begin, piece.count));
    }
    return scratch;
  };
}

SoupTotals make_soup(Communicator& comm, const TensorLayout& layout, const Digest& base_digest,
                     std::span<const SoupIngredient> mine, const SoupOptions& options, const BucketSink& sink) {
  SOUP_REQUIRE(options.bucket_elements > 0, "buckets of no elements");
  agree_on_form(comm, layout, base_digest);

  std::vector<std::map<std::string, double>> largest;
  const std::vector<SoupTerm> my_terms =
      agreed(comm, [&] { return inspect(layout, mine, options.bucket_elements, largest); });
  SoupTotals totals;
  totals.ingredients = gather_terms(comm, my_terms);
  // Equal on all ranks, so it throws on all or none.
  totals.total_weight = total_weight_of(totals.ingredients, options.scale_bits);
  agreed(comm, [&] {
    for (std::size_t i = 0; i < mine.size(); ++i) {
      for (const auto& [tensor, most] : largest[i]) {
        require_in_range(most, totals.total_weight, options.scale_bits,
                         fmt::format("ingredient {}, tensor {}", mine[i].name, tensor));
      }
    }
  });

  const std::uint64_t bucket = std::min<std::uint64_t>(options.bucket_elements, layout.count());
  std::vector<std::int64_t> sum_buffer(bucket);
  std::vector<float> float_buffer(bucket);
  for (std::uint64_t offset = 0; offset < layout.count(); offset += bucket) {
    const std::uint64_t count = std::min(bucket, layout.count() - offset);
    const std::span<std::int64_t> sums = std::span(sum_buffer).first(count);
    const std::span<float> floats = std::span(float_buffer).first(count);
    const std::vector<Piece> pieces = pieces_of(layout, offset, count);
    std::ranges::fill(sums, 0);
    agreed(comm, [&] {
      for (const SoupIngredient& ingredient : mine) {
        const std::span<const float> values = ingredient.read(offset, floats);
        for (const Piece& piece : pieces) {
          accumulate(values.subspan(piece.begin, piece.count), ingredient.weight, totals.total_weight,
                     options.scale_bits, piece.tensor->name, sums.subspan(piece.begin, piece.count), piece.first_index);
        }
      }
    });
    comm.all_reduce_sum(sums);
    finish(sums, totals.total_weight, options.scale_bits, floats);
    agreed(comm, [&] { sink(offset, sums, floats); });
  }
  return totals;
}

ResidentSoup make_soup(Communicator& comm, const TensorLayout& layout, const Digest& base_digest,
                       std::span<const SoupIngredient> mine, const SoupOptions& options) {
  ResidentSoup soup;
  soup.weights.resize(layout.count());
  const auto keep = [&](std::uint64_t offset, std::span<const std::int64_t>, std::span<const float> floats) {
    std::ranges::copy(floats, soup.weights.begin() + static_cast<std::ptrdiff_t>(offset));
  };
  soup.totals = make_soup(comm, layout, base_digest, mine, options, keep);
  return soup;
}

}  // namespace soup
