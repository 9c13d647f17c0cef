// How several models moved away from one base, as sums over weights: norms and cosines of their deltas.
#include "merge/delta_sums.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "core/simd.hpp"

namespace soup {

namespace {

// Sums that run side by side: element i goes into sum i modulo 8 whatever the vectors' width, so that the bits are
// those of any machine.
constexpr std::size_t dot_lanes = 8;

SOUP_SIMD double strided_dot(const double* a, const double* b, std::size_t count) {
  std::array<double, dot_lanes> lanes{};
  const std::size_t whole = count - count % dot_lanes;
  for (std::size_t i = 0; i < whole; i += dot_lanes) {
    for (std::size_t lane = 0; lane < dot_lanes; ++lane) {
      lanes[lane] += a[i + lane] * b[i + lane];
    }
  }
  for (std::size_t i = whole; i < count; ++i) {
    lanes[i - whole] += a[i] * b[i];
  }
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

}  // namespace

void DeltaSums::add(std::span<const double> base, std::span<const std::vector<double>> deltas) {
  SOUP_REQUIRE(deltas.size() == models_, "deltas of another number of models");
  elements_ += base.size();
  base_square_ += strided_dot(base.data(), base.data(), base.size());
  std::size_t pair = 0;
  for (std::size_t a = 0; a < models_; ++a) {
    for (std::size_t b = 0; b <= a; ++b) {
      products_[pair++] += strided_dot(deltas[a].data(), deltas[b].data(), base.size());
    }
  }
}

void DeltaSums::add(const DeltaSums& other) {
  SOUP_REQUIRE(other.models_ == models_, "sums over another number of models");
  elements_ += other.elements_;
  base_square_ += other.base_square_;
  for (std::size_t pair = 0; pair < products_.size(); ++pair) {
    products_[pair] += other.products_[pair];
  }
}

double DeltaSums::product(std::size_t a, std::size_t b) const {
  const auto [low, high] = std::minmax(a, b);
  return products_[high * (high + 1) / 2 + low];
}

double DeltaSums::base_norm() const {
  return std::sqrt(base_square_);
}

double DeltaSums::norm(std::size_t model) const {
  return std::sqrt(product(model, model));
}

double DeltaSums::drift(std::size_t model) const {
  const double square = product(model, model);
  return square == 0.0 ? 0.0 : std::sqrt(square / base_square_);
}

double DeltaSums::cosine(std::size_t a, std::size_t b) const {
  const double norms = norm(a) * norm(b);
  if (!(norms > 0.0)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return a == b ? 1.0 : std::clamp(product(a, b) / norms, -1.0, 1.0);  // rounding can pass 1 by an ulp
}

}  // namespace soup
