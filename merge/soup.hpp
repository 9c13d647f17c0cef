// The soup from resident weights: quantise, all-reduce integers in bounded buckets, divide once, round once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/tensor_layout.hpp"
#include "launch/communicator.hpp"
#include "merge/fixed_point.hpp"
#include "merge/weights.hpp"

namespace soup {

// Gives the elements [offset, offset + scratch.size()) of an ingredient's flat buffer: a view of resident weights, or
// `scratch` filled from elsewhere. May throw; all ranks then throw the same error.
using WeightReader = std::function<std::span<const float>(std::uint64_t offset, std::span<float> scratch)>;

// Weights that are in memory; the span must outlive the reader.
WeightReader resident(std::span<const float> weights);
// Weights on disk (the objects must outlive the reader), read in pieces: a rank can hold many ingredients without
// holding their floats. Throws DataError when a tensor is missing, misshaped or not F32, F16 or BF16.
WeightReader from_weights(const Weights& weights, const TensorLayout& layout);

struct SoupIngredient {
  std::string name;
  std::int64_t weight = 1;
  WeightReader read;
};

struct SoupOptions {
  int scale_bits = default_scale_bits;
  std::size_t bucket_elements = std::size_t{8} << 20;  // 64 MiB of int64
};

// What all ranks know of every ingredient afterwards; sorted by name.
struct SoupTerm {
  std::string name;
  std::int64_t weight = 1;
  double largest = 0.0;  // largest |w|
};

struct SoupTotals {
  std::int64_t total_weight = 0;
  std::vector<SoupTerm> ingredients;
};

// The world of a soup, cut in two ways: ranks of one group bring the same ingredients and share the work on them; each
// bucket is cut into as many slices as the smallest group has ranks, and slice s is summed over the groups by the ranks
// with number s in theirs.
struct SoupRanks {
  Communicator& all;
  Communicator& group;   // ranks that bring the same ingredients
  Communicator& across;  // ranks of all groups with this rank's number in its group
};

// Consecutive elements of a bucket, or of the layout.
struct Slice {
  std::uint64_t begin = 0;
  std::uint64_t count = 0;
};

// Slice number `slice` of `slices` of a bucket of `count` elements; sizes differ by one at most.
Slice slice_of(std::uint64_t count, int slice, int slices);

// A rank's share of the sum of ingredients that are finished one by one: its slice of every bucket, in memory. No rank
// talks to another.
class PartialSums {
 public:
  // `slice` of `slices`, as SoupRanks say; a rank without a slice (slice >= slices) holds nothing and only keeps names.
  // `most_weight`: no soup will have a larger total weight. The layout must outlive this.
  PartialSums(const TensorLayout& layout, int slice, int slices, std::int64_t most_weight, const SoupOptions& options);

  // Throws DataError naming ingredient, tensor and element for weights that are not finite or could overflow; nothing
  // is added then. ConfigError for a weight below 1 or a name that is there already.
  void add(const SoupIngredient& ingredient);

  [[nodiscard]] bool holds(const std::string& name) const;
  [[nodiscard]] const TensorLayout& layout() const { return layout_; }
  [[nodiscard]] const std::vector<SoupTerm>& terms() const { return terms_; }  // `largest` of this rank's slices
  [[nodiscard]] std::int64_t most_weight() const { return most_weight_; }
  // Of one bucket (those of make_soup with the same options): [slice's count].
  [[nodiscard]] std::span<const std::int64_t> bucket(std::uint64_t offset) const;

 private:
  const TensorLayout& layout_;
  int slice_;
  int slices_;
  std::int64_t most_weight_;
  SoupOptions options_;
  std::vector<SoupTerm> terms_;
  std::vector<std::int64_t> sums_;
  std::vector<std::size_t> begins_;  // of each bucket, in sums_
};

// What the ranks of a group bring to a soup.
struct SoupShare {
  std::span<const SoupIngredient> ingredients = {};  // to be read
  const PartialSums* sums = nullptr;                 // ingredients that are summed already
  std::span<const SoupIngredient> without = {};      // of those, to be read again and left out
};

// Called for each bucket in order with equal values: integer sums and the soup's floats.
using BucketSink =
    std::function<void(std::uint64_t offset, std::span<const std::int64_t> sums, std::span<const float> soup)>;

// Makes the soup of all groups' ingredients; collective over ranks.all. A group may bring none. Everything foreseeable
// is agreed before the first sum: equal layouts and bases, unique names, weights >= 1, finite weights, no overflow.
// Throws DataError or ConfigError, the same on all ranks, naming the two values that differ or tensor, ingredient and
// element. Ranks without a sink (an empty one) get no values where no rank of their group has one.
SoupTotals make_soup(const SoupRanks& ranks, const TensorLayout& layout, const Digest& base_digest,
                     const SoupShare& share, const SoupOptions& options, const BucketSink& sink);
// The same, every rank of `comm` bringing ingredients of its own.
SoupTotals make_soup(Communicator& comm, const TensorLayout& layout, const Digest& base_digest,
                     std::span<const SoupIngredient> mine, const SoupOptions& options, const BucketSink& sink);

// As above, the soup's floats returned.
struct ResidentSoup {
  std::vector<float> weights;  // [layout.count()]
  SoupTotals totals;
};
ResidentSoup make_soup(Communicator& comm, const TensorLayout& layout, const Digest& base_digest,
                       std::span<const SoupIngredient> mine, const SoupOptions& options = {});

}  // namespace soup
