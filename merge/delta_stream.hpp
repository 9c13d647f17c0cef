// The deltas of one part's tensors, read block by block on several threads and summed up.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "merge/difference.hpp"
#include "merge/weights.hpp"

namespace soup {

struct DeltaStream {
  const Weights* base = nullptr;  // nullptr: the mean of the models
  std::span<const Weights> models;
  int threads = 1;
  std::function<void(double share)> progress;  // called with the share of the bytes that has been read

  // All tensors, without block names, in the order of `base` (or the first model). The tensors' names and shapes must
  // be the same everywhere, and so their types but for floating ones (require_same_tensors). Throws DataError,
  // Interrupted.
  [[nodiscard]] std::vector<TensorDifference> run() const;
};

}  // namespace soup
