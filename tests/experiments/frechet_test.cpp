// The Frechet distance against closed forms.
#include "experiments/frechet.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace soup {
namespace {

constexpr std::array<std::uint32_t, 4> all = {0, 1, 2, 3};

// Four points with mean (mx, my) and unbiased covariance R diag(a, b) R^T, R the rotation by `angle`.
Features cloud(double mx, double my, double a, double b, double angle) {
  // +-u along each axis: sum of squares 2 u^2, divided by 3.
  const double u = std::sqrt(1.5 * a);
  const double v = std::sqrt(1.5 * b);
  const std::array<std::array<double, 2>, 4> points = {{{u, 0}, {-u, 0}, {0, v}, {0, -v}}};
  Features features{4, 2, {}};
  for (const auto& [x, y] : points) {
    features.values.push_back(static_cast<float>(mx + std::cos(angle) * x - std::sin(angle) * y));
    features.values.push_back(static_cast<float>(my + std::sin(angle) * x + std::cos(angle) * y));
  }
  return features;
}

TEST(FrechetDistance, OfAlignedGaussiansIsTheClosedForm) {
  // (3 - 0)^2 + (0 - 4)^2 + (2 - 1)^2 + (3 - 5)^2
  const FrechetDistance distance(cloud(3, 0, 4, 9, 0), cloud(0, 4, 1, 25, 0));
  EXPECT_NEAR(distance.over(all), 30.0, 1e-4);  // features are floats
}

TEST(FrechetDistance, OfRotatedGaussiansIsTheClosedForm) {
  // For 2 x 2: tr (AB)^1/2 = sqrt(tr AB + 2 sqrt(det A det B)). A = diag(4, 1), B = diag(4, 1) rotated by 45 degrees =
  // [[2.5, 1.5], [1.5, 2.5]]: tr AB = 12.5, dets 4 and 4.
  const FrechetDistance distance(cloud(0, 0, 4, 1, std::acos(-1.0) / 4), cloud(0, 0, 4, 1, 0));
  EXPECT_NEAR(distance.over(all), 5.0 + 5.0 - 2.0 * std::sqrt(12.5 + 2.0 * 4.0), 1e-4);
}

TEST(FrechetDistance, OfASetWithItselfIsZero) {
  const Features set = cloud(1, 2, 3, 4, 0.3);
  EXPECT_NEAR(FrechetDistance(set, set).estimate(20, SeedTree(1).stream("bootstrap", "", 0)).value, 0.0, 1e-5);
}

TEST(FrechetDistance, OfPointsWithoutSpreadIsTheirDistance) {
  const Features a{2, 3, {1, 1, 1, 1, 1, 1}};
  const Features b{2, 3, {1, 1, 3, 1, 1, 3}};
  const std::array<std::uint32_t, 2> both = {0, 1};
  EXPECT_NEAR(FrechetDistance(a, b).over(both), 4.0, 1e-9);
}

TEST(Features, SurviveATensor) {
  const Features features{2, 3, {1, 2, 3, 4, 5, 6}};
  const Features back = to_features(feature_tensor(features));
  EXPECT_EQ(back.values, features.values);
  EXPECT_EQ(back.rows, 2U);
}

}  // namespace
}  // namespace soup
