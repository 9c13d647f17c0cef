// Models blended by a method that is no mean, block by block on several threads, in memory that does not grow with
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "merge/method.hpp"
#include "merge/soup_writer.hpp"
#include "merge/streamed_sum.hpp"
#include "merge/weight_rules.hpp"
#include "merge/weights.hpp"

namespace soup {

struct BlendInput {
  const Weights* weights = nullptr;
  std::string name;
};

// One part of several models, and how to blend it.
struct Blend {
  const Method& method;
  std::vector<BlendInput> models;
  std::vector<double> weights;  // one a model
  BlendInput base;              // without weights for a method that needs no base
  std::string part;             // what rules may name before a tensor
  std::span<const WeightRule> rules = {};
};

struct BlendOptions {
  int threads = 1;                                  // at most; fewer where their buffers would pass `memory`
  bool digests = true;                              // of what is read and of what is written
  std::uint64_t memory = std::uint64_t{256} << 20;  // bytes of all threads' buffers; one thread runs whatever it takes
  std::uint64_t block_elements = 65536;             // read at once; a multiple of digest_block_elements
  // Called with the bytes of the soup done so far, a pass over them counting as its share.
  std::function<void(std::uint64_t)> progress;
};

// Throws ConfigError when the method cannot use these weights, or what a rule makes of them.
void require_usable_weights(const Method& method, std::span<const std::string> names, std::span<const double> weights,
                            std::span<const WeightRule> rules);

// Writes the blend into `out`, which has the form of the first model. All weights must have the same tensors
// (require_same_tensors; floating types may differ) and the weights be usable. Integer tensors must be equal and are
// copied. The bits depend on weights, names and method only. The outcome's terms are the models and then the base.
// Throws DataError for integers that differ, values that are not finite, results that the soup's type cannot hold;
// Interrupted on a signal.
SumOutcome stream_blend(const Blend& blend, const BlendOptions& options, SoupWriter& out);

}  // namespace soup
