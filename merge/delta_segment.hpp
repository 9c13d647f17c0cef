// Sums over the deltas of weights in memory, strip by strip, with what is largest and what is not finite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "merge/delta_sums.hpp"
#include "merge/difference.hpp"

namespace soup {

// What is known of a stretch of one tensor.
struct DeltaSegment {
  DeltaSums sums;
  std::vector<TensorChange> changes;  // of each model
  NotFinite base_not_finite;
  std::vector<NotFinite> not_finite;  // of each model

  explicit DeltaSegment(std::size_t models) : sums(models), changes(models), not_finite(models) {}
  // With the stretch that follows.
  void append(const DeltaSegment& later);
};

// The numbers of up to `elements` weights of the base and all models, to be filled by the caller.
struct DeltaStrip {
  // The deltas of a few models stay in the second-level cache. The sums' bits depend on it.
  static constexpr std::size_t elements = 2048;

  std::vector<double> base;
  std::vector<std::vector<double>> values;  // of each model

  explicit DeltaStrip(std::size_t models)
      : base(elements), values(models, std::vector<double>(elements)), deltas_(values) {}

  // Adds the first `count` weights, the first of which is element `first` of its tensor. `mean`: the base is the
  // models' mean, which this works out. Changes the numbers: those that are not finite are replaced.
  void add_to(DeltaSegment& segment, std::uint64_t first, std::size_t count, bool mean);

 private:
  void take_mean(std::size_t count);
  void leave_out_not_finite(DeltaSegment& segment, std::uint64_t first, std::size_t count, bool mean);

  std::vector<std::vector<double>> deltas_;
};

}  // namespace soup
