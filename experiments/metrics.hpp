// Statistics of an evaluation in plain doubles: means with bootstrap standard errors, the kernel distance between two
// sets of features, ranks. Torch-free.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "core/random.hpp"

namespace soup {

// A number and how far it would move on other samples. count 0: there was nothing to measure, value and error are NaN.
struct Estimate {
  double value;
  double standard_error;  // NaN where count < 2
  std::uint64_t count = 0;
};
// {"value", "standard_error", "count"}; NaN as null, both ways.
[[nodiscard]] nlohmann::json to_json(const Estimate& estimate);
[[nodiscard]] Estimate estimate_from_json(const nlohmann::json& json);

// Stands where there was nothing to measure.
inline constexpr double nan = std::numeric_limits<double>::quiet_NaN();
// A number that may be NaN, as JSON keeps it: null.
[[nodiscard]] double number_or_nan(const nlohmann::json& value);

// A statistic of the samples whose indices are given, with repetitions.
using Statistic = std::function<double(std::span<const std::uint32_t> indices)>;

// The statistic of all samples, and its standard deviation over `resamples` draws of `count` samples with replacement
// (Efron 1979). The same stream gives the same draws: two calls with it are paired.
Estimate bootstrap(std::uint64_t count, std::int64_t resamples, RandomStream stream, const Statistic& statistic);
Estimate bootstrap_mean(std::span<const double> values, std::int64_t resamples, RandomStream stream);

// Rank of candidate `right` among all, 1 = best; equals rank before it.
[[nodiscard]] std::uint64_t rank_of(std::span<const float> similarities, std::size_t right);

// Feature vectors, one row an image.
struct Features {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<float> values;

  [[nodiscard]] std::span<const float> row(std::size_t index) const {
    return {values.data() + index * columns, columns};
  }
};

// Kernel distance (KID): the unbiased estimate of the squared maximum mean discrepancy with the kernel
// (x.y / d + 1)^3 (Binkowski et al. 2018, section 3 and eq. 4). Zero in expectation for equal distributions, so small
// negative values are in order. Needs two rows or more on both sides (InvariantError otherwise).
class KernelDistance {
 public:
  KernelDistance(const Features& generated, const Features& reference);

  // Of the generated images at these indices. Pairs of one image with itself, which resampling brings, are left out, as
  // the unbiased estimate does with i = j.
  [[nodiscard]] double over(std::span<const std::uint32_t> indices) const;
  [[nodiscard]] Estimate estimate(std::int64_t resamples, RandomStream stream) const;

 private:
  std::size_t generated_;
  std::vector<double> within_;   // [G, G] kernel among the generated
  std::vector<double> across_;   // [G] mean kernel with the reference
  double reference_mean_ = 0.0;  // over pairs i != j
};

}  // namespace soup
