#include "experiments/metrics.hpp"

#include <cmath>
#include <numeric>

#include "core/error.hpp"

namespace soup {

namespace {

double polynomial_kernel(std::span<const float> x, std::span<const float> y) {
  double product = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    product += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  }
  const double base = product / static_cast<double>(x.size()) + 1.0;
  return base * base * base;
}

}  // namespace

nlohmann::json to_json(const Estimate& estimate) {
  // JSON has no NaN: nlohmann writes null.
  return {{"value", estimate.value}, {"standard_error", estimate.standard_error}, {"count", estimate.count}};
}

Estimate estimate_from_json(const nlohmann::json& json) {
  return {number_or_nan(json.at("value")), number_or_nan(json.at("standard_error")),
          json.at("count").get<std::uint64_t>()};
}

double number_or_nan(const nlohmann::json& value) {
  return value.is_null() ? nan : value.get<double>();
}

Estimate bootstrap(std::uint64_t count, std::int64_t resamples, RandomStream stream, const Statistic& statistic) {
  if (count == 0) {
    return {nan, nan, 0};
  }
  std::vector<std::uint32_t> indices(count);
  std::iota(indices.begin(), indices.end(), 0U);
  Estimate result{statistic(indices), nan, count};
  if (count < 2 || resamples < 2) {
    return result;
  }
  double mean = 0.0;
  double squares = 0.0;  // Welford's sums
  for (std::int64_t n = 1; n <= resamples; ++n) {
    for (std::uint32_t& index : indices) {
      index = static_cast<std::uint32_t>(stream.below(count));
    }
    const double value = statistic(indices);
    const double delta = value - mean;
    mean += delta / static_cast<double>(n);
    squares += delta * (value - mean);
  }
  result.standard_error = std::sqrt(squares / static_cast<double>(resamples - 1));
  return result;
}

Estimate bootstrap_mean(std::span<const double> values, std::int64_t resamples, RandomStream stream) {
  return bootstrap(values.size(), resamples, stream, [values](std::span<const std::uint32_t> indices) {
    double sum = 0.0;
    for (const std::uint32_t index : indices) {
      sum += values[index];
    }
    return sum / static_cast<double>(indices.size());
  });
}

std::uint64_t rank_of(std::span<const float> similarities, std::size_t right) {
  SOUP_REQUIRE(right < similarities.size(), "rank of a candidate that is not there");
  std::uint64_t rank = 1;
  for (std::size_t i = 0; i < similarities.size(); ++i) {
    if (i != right && similarities[i] >= similarities[right]) {
      ++rank;
    }
  }
  return rank;
}

KernelDistance::KernelDistance(const Features& generated, const Features& reference)
    : generated_(generated.rows), within_(generated.rows * generated.rows), across_(generated.rows) {
  SOUP_REQUIRE(generated.columns == reference.columns, "features of two widths: " + std::to_string(generated.columns) +
                                                           " and " + std::to_string(reference.columns));
  SOUP_REQUIRE(generated.rows >= 2 && reference.rows >= 2, "the kernel distance needs two images on both sides");
  for (std::size_t i = 0; i < generated_; ++i) {
    for (std::size_t j = 0; j < generated_; ++j) {
      within_[i * generated_ + j] = polynomial_kernel(generated.row(i), generated.row(j));
    }
    for (std::size_t j = 0; j < reference.rows; ++j) {
      across_[i] += polynomial_kernel(generated.row(i), reference.row(j)) / static_cast<double>(reference.rows);
    }
  }
  for (std::size_t i = 0; i < reference.rows; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      reference_mean_ += 2.0 * polynomial_kernel(reference.row(i), reference.row(j));
    }
  }
  reference_mean_ /= static_cast<double>(reference.rows) * static_cast<double>(reference.rows - 1);
}

double KernelDistance::over(std::span<const std::uint32_t> indices) const {
  double within = 0.0;
  double across = 0.0;
  std::uint64_t pairs = 0;
  for (const std::uint32_t i : indices) {
    across += across_.at(i);
    for (const std::uint32_t j : indices) {
      if (i != j) {
        within += within_[i * generated_ + j];
        ++pairs;
      }
    }
  }
  // A draw of one image only, many times over: no pair is left to average.
  const double within_mean = pairs == 0 ? nan : within / static_cast<double>(pairs);
  return within_mean + reference_mean_ - 2.0 * across / static_cast<double>(indices.size());
}

Estimate KernelDistance::estimate(std::int64_t resamples, RandomStream stream) const {
  return bootstrap(generated_, resamples, stream,
                   [this](std::span<const std::uint32_t> indices) { return over(indices); });
}

}  // namespace soup
