// The k-th largest magnitude against a sort: many equal values, zeros, any order and split.
#include "merge/magnitude_selection.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/random.hpp"

namespace soup {
namespace {

// How many a selection keeps, every pass seeing the values in pieces of `piece`, from the back.
std::size_t kept(const std::vector<double>& values, std::uint64_t keep, std::size_t piece) {
  MagnitudeSelection selection(keep);
  for (int pass = 0; pass < MagnitudeSelection::passes; ++pass) {
    for (std::size_t end = values.size(); end > 0; end -= std::min(end, piece)) {
      const std::size_t begin = end - std::min(end, piece);
      selection.count(pass, std::span(values).subspan(begin, end - begin));
    }
    selection.end_pass(pass);
  }
  return static_cast<std::size_t>(std::ranges::count_if(values, [&](double value) { return selection.keeps(value); }));
}

std::size_t kept_by_sort(std::vector<double> values, std::uint64_t keep) {
  std::ranges::transform(values, values.begin(), [](double value) { return static_cast<float>(std::abs(value)); });
  std::ranges::sort(values, std::greater<>());
  const double threshold = values[keep - 1];
  return static_cast<std::size_t>(std::ranges::count_if(values, [&](double value) { return value >= threshold; }));
}

TEST(MagnitudeSelection, EqualsASort) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomStream stream(seed, 3);
    std::vector<double> values(1 + stream.below(300));
    const double grain = std::exp2(-static_cast<double>(stream.below(40)));  // coarse: many are equal
    std::ranges::generate(values, [&] { return std::round(stream.normal() / grain) * grain; });
    for (const std::uint64_t keep : {std::uint64_t{1}, 1 + stream.below(values.size()), std::uint64_t{values.size()}}) {
      EXPECT_EQ(kept(values, keep, 1 + stream.below(64)), kept_by_sort(values, keep)) << seed << " " << keep;
    }
  }
}

TEST(MagnitudeSelection, Extremes) {
  const double tiny = std::numeric_limits<float>::denorm_min();
  const double huge = std::numeric_limits<float>::max();
  EXPECT_EQ(kept({0.0, -0.0, 0.0}, 1, 1), 3u) << "zeros are equal";
  EXPECT_EQ(kept({tiny, 0.0, -2 * tiny}, 2, 1), 2u);
  EXPECT_EQ(kept({huge, -huge, 1.0, 1e300}, 1, 2), 1u) << "beyond a float's range is largest";
  EXPECT_EQ(kept({huge, -huge, 1.0}, 1, 3), 2u);
  EXPECT_EQ(kept({}, 1, 1), 0u);
}

}  // namespace
}  // namespace soup
