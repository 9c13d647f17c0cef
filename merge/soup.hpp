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

// Called for each bucket in order, on every rank, with equal values: integer sums and the soup's floats.
using BucketSink =
    std::function<void(std::uint64_t offset, std::span<const std::int64_t> sums, std::span<const float> soup)>;

// Makes the soup of all ranks' ingredients; collective over `comm`. A rank may bring none. Everything foreseeable is
// agreed before the first sum: equal layouts and bases, unique names, weights >= 1, finite weights, no overflow. Throws
// DataError or ConfigError, the same on all ranks, naming the two values that differ or tensor, ingredient and element.
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
