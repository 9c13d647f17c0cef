// The soup from resident weights: quantise, all-reduce integers in bounded buckets, divide once, round once.
#include "merge/soup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
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

void require_good_weight(const SoupIngredient& ingredient) {
  if (ingredient.weight < 1) {
    throw ConfigError(fmt::format("ingredient {} has weight {}, but weights are integers from 1", ingredient.name,
                                  ingredient.weight));
  }
}

std::uint64_t bucket_size(const TensorLayout& layout, const SoupOptions& options) {
  SOUP_REQUIRE(options.bucket_elements > 0, "buckets of no elements");
  return std::min<std::uint64_t>(options.bucket_elements, layout.count());
}

// Calls body(first element, elements) for this slice of every bucket.
template <typename Body>
void for_each_slice(const TensorLayout& layout, std::uint64_t bucket, int slice, int slices, const Body& body) {
  for (std::uint64_t offset = 0; offset < layout.count(); offset += bucket) {
    const Slice part = slice_of(std::min(bucket, layout.count() - offset), slice, slices);
    body(offset + part.begin, part.count);
  }
}

// Reads an ingredient's slices once: finite, and how large; throws DataError where a total of `most_weight` could
// overflow.
double inspect(const TensorLayout& layout, const SoupIngredient& ingredient, std::uint64_t bucket, int slice,
               int slices, std::map<std::string, double>& largest) {
  require_good_weight(ingredient);
  double most = 0.0;
  std::vector<float> scratch;
  for_each_slice(layout, bucket, slice, slices, [&](std::uint64_t offset, std::uint64_t count) {
    scratch.resize(count);
    const std::span<const float> values = ingredient.read(offset, scratch);
    for (const Piece& piece : pieces_of(layout, offset, count)) {
      const double found = largest_magnitude(
          values.subspan(piece.begin, piece.count),
          fmt::format("ingredient {}, tensor {}", ingredient.name, piece.tensor->name), piece.first_index);
      double& of_tensor = largest[piece.tensor->name];
      of_tensor = std::max(of_tensor, found);
      most = std::max(most, found);
    }
  });
  return most;
}

void require_all_in_range(const std::map<std::string, double>& largest, const std::string& name,
                          std::int64_t total_weight, int scale_bits) {
  for (const auto& [tensor, most] : largest) {
    require_in_range(most, total_weight, scale_bits, fmt::format("ingredient {}, tensor {}", name, tensor));
  }
}

// sums += weight * q(the ingredient's elements from `offset` on).
void add_elements(const TensorLayout& layout, const SoupIngredient& ingredient, std::int64_t weight,
                  std::int64_t total_weight, int scale_bits, std::uint64_t offset, std::span<std::int64_t> sums,
                  std::vector<float>& scratch) {
  scratch.resize(sums.size());
  const std::span<const float> values = ingredient.read(offset, scratch);
  for (const Piece& piece : pieces_of(layout, offset, sums.size())) {
    accumulate(values.subspan(piece.begin, piece.count), weight, total_weight, scale_bits, piece.tensor->name,
               sums.subspan(piece.begin, piece.count), piece.first_index);
  }
}

// Every group's terms, sorted by name. A term's largest weight is the largest of all slices.
std::vector<SoupTerm> gather_terms(const SoupRanks& ranks, std::vector<SoupTerm> mine) {
  std::vector<double> largest;
  for (const SoupTerm& term : mine) {
    largest.push_back(term.largest);
  }
  ranks.group.all_reduce_max(std::span(largest));
  nlohmann::json text = nlohmann::json::array();
  for (std::size_t i = 0; i < mine.size() && ranks.group.rank() == 0; ++i) {
    text.push_back({mine[i].name, mine[i].weight, largest[i]});
  }
  std::vector<SoupTerm> terms;
  for (const std::string& of_rank : all_gather_text(ranks.all, text.dump())) {
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

Slice slice_of(std::uint64_t count, int slice, int slices) {
  if (slice >= slices) {
    return {count, 0};
  }
  const auto at = [&](int n) {
    return count / static_cast<std::uint64_t>(slices) * static_cast<std::uint64_t>(n) +
           std::min<std::uint64_t>(count % static_cast<std::uint64_t>(slices), static_cast<std::uint64_t>(n));
  };
  return {at(slice), at(slice + 1) - at(slice)};
}

PartialSums::PartialSums(const TensorLayout& layout, int slice, int slices, std::int64_t most_weight,
                         const SoupOptions& options)
    : layout_(layout), slice_(slice), slices_(slices), most_weight_(most_weight), options_(options) {
  require_valid_scale(options.scale_bits, most_weight);
  std::size_t elements = 0;
  for_each_slice(layout_, bucket_size(layout_, options_), slice_, slices_, [&](std::uint64_t, std::uint64_t count) {
    begins_.push_back(elements);
    elements += count;
  });
  sums_.resize(elements);
}

void PartialSums::add(const SoupIngredient& ingredient) {
  if (holds(ingredient.name)) {
    throw ConfigError(fmt::format("two ingredients are named {}", ingredient.name));
  }
  const std::uint64_t bucket = bucket_size(layout_, options_);
  // First all of it is looked at: sums that hold half an ingredient would be lost.
  std::map<std::string, double> largest;
  const double most = inspect(layout_, ingredient, bucket, slice_, slices_, largest);
  require_all_in_range(largest, ingredient.name, most_weight_, options_.scale_bits);
  std::vector<float> scratch;
  std::size_t begin = 0;
  for_each_slice(layout_, bucket, slice_, slices_, [&](std::uint64_t offset, std::uint64_t count) {
    add_elements(layout_, ingredient, ingredient.weight, most_weight_, options_.scale_bits, offset,
                 std::span(sums_).subspan(begin, count), scratch);
    begin += count;
  });
  terms_.push_back({ingredient.name, ingredient.weight, most});
}

bool PartialSums::holds(const std::string& name) const {
  return std::ranges::find(terms_, name, &SoupTerm::name) != terms_.end();
}

std::span<const std::int64_t> PartialSums::bucket(std::uint64_t offset) const {
  const std::size_t number = offset / bucket_size(layout_, options_);
  const std::size_t end = number + 1 < begins_.size() ? begins_[number + 1] : sums_.size();
  return std::span(sums_).subspan(begins_.at(number), end - begins_[number]);
}

SoupTotals make_soup(const SoupRanks& ranks, const TensorLayout& layout, const Digest& base_digest,
                     const SoupShare& share, const SoupOptions& options, const BucketSink& sink) {
  const std::uint64_t bucket = bucket_size(layout, options);
  agree_on_form(ranks.all, layout, base_digest);
  agreed(ranks.all, [&] {
    const std::string difference =
        share.sums == nullptr ? "" : share.sums->layout().difference(layout, "the sums", "the soup");
    if (!difference.empty()) {
      throw DataError("soup", difference, "ingredients of one soup are trained from one base, with one configuration");
    }
  });

  // The smallest group's size, and whether any rank of this group takes values.
  std::int64_t fewest = -ranks.group.size();
  ranks.all.all_reduce_max(std::span(&fewest, 1));
  const int slices = static_cast<int>(-fewest);
  const int slice = ranks.group.rank();
  std::int64_t takes = sink ? 1 : 0;
  ranks.group.all_reduce_max(std::span(&takes, 1));

  std::vector<std::map<std::string, double>> largest(share.ingredients.size());
  std::vector<SoupTerm> mine = agreed(ranks.all, [&] {
    std::vector<SoupTerm> terms;
    for (std::size_t i = 0; i < share.ingredients.size(); ++i) {
      const SoupIngredient& ingredient = share.ingredients[i];
      terms.push_back(
          {ingredient.name, ingredient.weight, inspect(layout, ingredient, bucket, slice, slices, largest[i])});
    }
    return terms;
  });
  if (share.sums != nullptr) {
    std::ranges::copy_if(share.sums->terms(), std::back_inserter(mine), [&share](const SoupTerm& term) {
      return std::ranges::find(share.without, term.name, &SoupIngredient::name) == share.without.end();
    });
  }
  SoupTotals totals;
  totals.ingredients = gather_terms(ranks, std::move(mine));
  // Equal on all ranks, so it throws on all or none.
  totals.total_weight = total_weight_of(totals.ingredients, options.scale_bits);
  agreed(ranks.all, [&] {
    SOUP_REQUIRE(share.sums == nullptr || totals.total_weight <= share.sums->most_weight(),
                 "a soup of a larger total weight than its sums were made for");
    for (std::size_t i = 0; i < share.ingredients.size(); ++i) {
      require_all_in_range(largest[i], share.ingredients[i].name, totals.total_weight, options.scale_bits);
    }
  });

  std::vector<std::int64_t> sum_buffer(bucket);
  std::vector<float> float_buffer(takes != 0 ? bucket : 0);
  std::vector<float> scratch;
  for (std::uint64_t offset = 0; offset < layout.count(); offset += bucket) {
    const std::uint64_t count = std::min(bucket, layout.count() - offset);
    const std::span<std::int64_t> sums = std::span(sum_buffer).first(count);
    const Slice part = slice_of(count, slice, slices);
    const std::span<std::int64_t> slice_sums = sums.subspan(part.begin, part.count);
    agreed(ranks.all, [&] {
      if (share.sums != nullptr) {
        std::ranges::copy(share.sums->bucket(offset), slice_sums.begin());
      } else {
        std::ranges::fill(slice_sums, 0);
      }
      const auto add = [&](const SoupIngredient& ingredient, std::int64_t weight, std::int64_t total_weight) {
        add_elements(layout, ingredient, weight, total_weight, options.scale_bits, offset + part.begin, slice_sums,
                     scratch);
      };
      for (const SoupIngredient& ingredient : share.ingredients) {
        add(ingredient, ingredient.weight, totals.total_weight);
      }
      for (const SoupIngredient& ingredient : share.without) {
        add(ingredient, -ingredient.weight, share.sums->most_weight());
      }
    });
    if (slice < slices) {
      ranks.across.all_reduce_sum(slice_sums);
    }
    if (takes != 0) {
      for (int owner = 0; owner < slices && ranks.group.size() > 1; ++owner) {
        const Slice of_owner = slice_of(count, owner, slices);
        ranks.group.broadcast(std::as_writable_bytes(sums.subspan(of_owner.begin, of_owner.count)), owner);
      }
    }
    agreed(ranks.all, [&] {
      if (sink) {
        const std::span<float> floats = std::span(float_buffer).first(count);
        finish(sums, totals.total_weight, options.scale_bits, floats);
        sink(offset, sums, floats);
      }
    });
  }
  return totals;
}

SoupTotals make_soup(Communicator& comm, const TensorLayout& layout, const Digest& base_digest,
                     std::span<const SoupIngredient> mine, const SoupOptions& options, const BucketSink& sink) {
  const std::unique_ptr<Communicator> alone = make_self_communicator();
  return make_soup({.all = comm, .group = *alone, .across = comm}, layout, base_digest, {.ingredients = mine}, options,
                   sink);
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
