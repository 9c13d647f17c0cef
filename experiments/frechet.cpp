#include "experiments/frechet.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/error.hpp"

namespace soup {

namespace {

at::Tensor covariance(const at::Tensor& rows) {
  const at::Tensor centred = rows - rows.mean(0, true);
  return centred.t().matmul(centred) / static_cast<double>(rows.size(0) - 1);
}

}  // namespace

at::Tensor feature_tensor(const Features& features) {
  const auto sizes = {static_cast<std::int64_t>(features.rows), static_cast<std::int64_t>(features.columns)};
  at::Tensor tensor = at::empty(sizes, at::kFloat);
  std::ranges::copy(features.values, tensor.data_ptr<float>());
  return tensor.to(at::kDouble);
}

Features to_features(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kFloat).contiguous();
  const auto* begin = values.data_ptr<float>();
  return {static_cast<std::size_t>(tensor.size(0)),
          static_cast<std::size_t>(tensor.size(1)),
          {begin, begin + values.numel()}};
}

FrechetDistance::FrechetDistance(const Features& generated, const Features& reference) {
  SOUP_REQUIRE(generated.columns == reference.columns, "features of two widths: " + std::to_string(generated.columns) +
                                                           " and " + std::to_string(reference.columns));
  SOUP_REQUIRE(generated.rows >= 2 && reference.rows >= 2, "the Frechet distance needs two images on both sides");
  generated_ = feature_tensor(generated);
  const at::Tensor rows = feature_tensor(reference);
  const at::Tensor spread = covariance(rows);
  reference_mean_ = rows.mean(0);
  reference_trace_ = spread.trace().item<double>();
  const auto [values, vectors] = at::linalg_eigh(spread);
  // Rounding makes zero eigenvalues slightly negative.
  reference_root_ = (vectors * values.clamp_min(0.0).sqrt()).matmul(vectors.t());
}

double FrechetDistance::over(std::span<const std::uint32_t> indices) const {
  at::Tensor places = at::empty({static_cast<std::int64_t>(indices.size())}, at::kLong);
  std::ranges::copy(indices, places.data_ptr<std::int64_t>());
  const at::Tensor rows = generated_.index_select(0, places);
  const at::Tensor spread = covariance(rows);
  const at::Tensor product = reference_root_.matmul(spread).matmul(reference_root_);
  const double roots = at::linalg_eigvalsh((product + product.t()) * 0.5).clamp_min(0.0).sqrt().sum().item<double>();
  const double means = (rows.mean(0) - reference_mean_).square().sum().item<double>();
  return means + spread.trace().item<double>() + reference_trace_ - 2.0 * roots;
}

Estimate FrechetDistance::estimate(std::int64_t resamples, RandomStream stream) const {
  return bootstrap(static_cast<std::uint64_t>(generated_.size(0)), resamples, stream,
                   [this](std::span<const std::uint32_t> indices) { return over(indices); });
}

}  // namespace soup
