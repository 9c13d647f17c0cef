// Bootstrap, ranks and kernel distance against closed forms and hand-worked numbers.
#include "experiments/metrics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "core/error.hpp"

namespace soup {
namespace {

RandomStream stream() {
  return SeedTree(7).stream("bootstrap", "", 0);
}

TEST(Bootstrap, StandardErrorOfAMeanIsTheClosedForm) {
  std::vector<double> values(50);
  std::iota(values.begin(), values.end(), 0.0);
  const Estimate estimate = bootstrap_mean(values, 20000, stream());
  EXPECT_DOUBLE_EQ(estimate.value, 24.5);
  EXPECT_EQ(estimate.count, 50U);
  // Variance of 0..n-1 is (n^2 - 1) / 12; that of a resampled mean is the n-th part of it.
  const double exact = std::sqrt((50.0 * 50.0 - 1.0) / 12.0 / 50.0);
  // Relative error of a standard deviation over R resamples is 1 / sqrt(2 R) = 0.5%; six of those.
  EXPECT_NEAR(estimate.standard_error, exact, 0.03 * exact);
}

TEST(Bootstrap, EqualValuesHaveNoError) {
  const std::array<double, 4> values = {2.5, 2.5, 2.5, 2.5};
  const Estimate estimate = bootstrap_mean(values, 100, stream());
  EXPECT_EQ(estimate.value, 2.5);
  EXPECT_EQ(estimate.standard_error, 0.0);
}

TEST(Bootstrap, NothingAndOneSampleHaveNoErrorToState) {
  EXPECT_EQ(bootstrap_mean({}, 100, stream()).count, 0U);
  EXPECT_TRUE(std::isnan(bootstrap_mean({}, 100, stream()).value));
  const std::array<double, 1> one = {3.0};
  EXPECT_EQ(bootstrap_mean(one, 100, stream()).value, 3.0);
  EXPECT_TRUE(std::isnan(bootstrap_mean(one, 100, stream()).standard_error));
}

TEST(Bootstrap, TheSameStreamDrawsTheSameSamples) {
  const std::array<double, 3> values = {1.0, 5.0, 9.0};
  std::array<double, 3> shifted = {101.0, 105.0, 109.0};
  EXPECT_NEAR(bootstrap_mean(values, 50, stream()).standard_error, bootstrap_mean(shifted, 50, stream()).standard_error,
              1e-10);
}

TEST(Estimate, SurvivesJsonWithNaN) {
  const Estimate read = estimate_from_json(nlohmann::json::parse(to_json(Estimate{1.5, std::nan(""), 1}).dump()));
  EXPECT_EQ(read.value, 1.5);
  EXPECT_TRUE(std::isnan(read.standard_error));
  EXPECT_EQ(read.count, 1U);
}

TEST(Rank, CountsWhatIsAtLeastAsNear) {
  const std::array<float, 4> similarities = {0.1F, 0.7F, 0.7F, 0.9F};
  EXPECT_EQ(rank_of(similarities, 3), 1U);
  EXPECT_EQ(rank_of(similarities, 1), 3U);  // a tie counts against it
  EXPECT_EQ(rank_of(similarities, 0), 4U);
  EXPECT_THROW(static_cast<void>(rank_of(similarities, 4)), InvariantError);
}

Features column(std::vector<float> values) {
  return {values.size(), 1, std::move(values)};
}

TEST(KernelDistance, EqualsTheHandWorkedNumber) {
  // k(x, y) = (xy + 1)^3 in one dimension. Generated {0, 1}: k = 1. Reference {1, 2}: k = 27.
  // Across: k(0, .) = 1, 1; k(1, 1) = 8, k(1, 2) = 27: mean 37 / 4. 1 + 27 - 2 * 37 / 4 = 9.5.
  const KernelDistance distance(column({0.0F, 1.0F}), column({1.0F, 2.0F}));
  const std::array<std::uint32_t, 2> all = {0, 1};
  EXPECT_DOUBLE_EQ(distance.over(all), 9.5);
  // Image 1 twice: the pair (1, 1) is no pair. Within stays 1; across is 17.5. 1 + 27 - 2 * (1 + 17.5 + 17.5) / 3 = 4.
  const std::array<std::uint32_t, 3> repeated = {0, 1, 1};
  EXPECT_DOUBLE_EQ(distance.over(repeated), 4.0);
}

TEST(KernelDistance, DividesTheProductByTheWidth) {
  // (x.y / 2 + 1)^3: within (1,1).(1,1) = 2 -> 8; reference zeros -> 1; across -> 1. 8 + 1 - 2 = 7.
  const Features ones{2, 2, {1, 1, 1, 1}};
  const Features zeros{2, 2, {0, 0, 0, 0}};
  EXPECT_DOUBLE_EQ(KernelDistance(ones, zeros).estimate(10, stream()).value, 7.0);
}

TEST(KernelDistance, IsNearZeroForOneDistributionAndUnbiased) {
  RandomStream random = SeedTree(3).stream("features", "", 0);
  double sum = 0.0;
  for (int trial = 0; trial < 200; ++trial) {
    Features a{10, 4, std::vector<float>(40)};
    Features b{20, 4, std::vector<float>(80)};
    random.fill_normal(a.values);
    random.fill_normal(b.values);
    sum += KernelDistance(a, b).estimate(0, stream()).value;
  }
  // One trial moves by about 0.3, the mean of 200 by 0.02; a biased estimate (with i = j) would lie near +1.5.
  EXPECT_NEAR(sum / 200.0, 0.0, 0.12);
}

TEST(KernelDistance, RefusesTooFewImages) {
  EXPECT_THROW(KernelDistance(column({1.0F}), column({1.0F, 2.0F})), InvariantError);
  EXPECT_THROW(KernelDistance(column({1.0F, 2.0F}), Features{2, 2, {0, 0, 0, 0}}), InvariantError);
}

}  // namespace
}  // namespace soup
