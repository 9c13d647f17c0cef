// The Frechet distance between two sets of features (Heusel et al. 2017, eq. 6).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "core/random.hpp"
#include "experiments/metrics.hpp"

namespace soup {

// For its standard error: a distance costs an eigenvalue decomposition, and the error needs few digits.
inline constexpr std::int64_t frechet_resamples = 100;

// |m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2) with the unbiased covariances. Biased upwards where there are
// few images: comparable only between sets of equal size. Needs two rows or more on both sides.
class FrechetDistance {
 public:
  FrechetDistance(const Features& generated, const Features& reference);

  [[nodiscard]] double over(std::span<const std::uint32_t> indices) const;
  [[nodiscard]] Estimate estimate(std::int64_t resamples, RandomStream stream) const;

 private:
  at::Tensor generated_;       // double [G, D]
  at::Tensor reference_mean_;  // double [D]
  at::Tensor reference_root_;  // square root of the reference's covariance [D, D]
  double reference_trace_ = 0.0;
};

// Floats as a double tensor [rows, columns].
at::Tensor feature_tensor(const Features& features);
// float [rows, columns] to a value.
Features to_features(const at::Tensor& tensor);

}  // namespace soup
