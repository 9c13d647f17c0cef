// CMA-ES on functions whose minimum is known.
#include "experiments/cma_es.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

namespace soup {
namespace {

using Function = std::function<double(const Eigen::VectorXd&)>;

struct Course {
  CmaEs search;
  int evaluations = 0;
};

Course minimise(const Function& function, std::size_t dimensions, double sigma, int budget, double good_enough) {
  Course course{CmaEs(dimensions, sigma, CmaEs::default_population(dimensions))};
  for (std::uint64_t generation = 0; course.evaluations < budget; ++generation) {
    RandomStream stream = SeedTree(7).stream("test", "", generation);
    const Eigen::MatrixXd points = course.search.ask(stream);
    std::vector<double> values;
    for (const auto& point : points.colwise()) {
      values.push_back(function(point));
    }
    course.evaluations += static_cast<int>(values.size());
    std::vector<Eigen::Index> order(values.size());
    std::iota(order.begin(), order.end(), Eigen::Index{0});
    std::ranges::sort(order, {}, [&](Eigen::Index i) { return values[static_cast<std::size_t>(i)]; });
    course.search.tell(points(Eigen::all, order));
    if (function(course.search.mean()) < good_enough) {
      break;
    }
  }
  return course;
}

TEST(CmaEs, HasTheTutorialsPopulation) {
  EXPECT_EQ(CmaEs::default_population(1), 4U);
  EXPECT_EQ(CmaEs::default_population(3), 7U);
  EXPECT_EQ(CmaEs::default_population(10), 10U);
}

TEST(CmaEs, DrawsFromItsDistribution) {
  const CmaEs search(2, 3.0, 20000);
  RandomStream stream = SeedTree(1).stream("test", "", 0);
  const Eigen::MatrixXd points = search.ask(stream);
  EXPECT_EQ(points.cols(), 20000);
  // Five standard errors.
  EXPECT_LT(points.rowwise().mean().cwiseAbs().maxCoeff(), 5.0 * 3.0 / std::sqrt(20000.0));
  EXPECT_NEAR(points.row(0).squaredNorm() / 20000.0, 9.0, 5.0 * 9.0 * std::sqrt(2.0 / 20000.0));
  EXPECT_NEAR(points.row(0).dot(points.row(1)) / 20000.0, 0.0, 5.0 * 9.0 / std::sqrt(20000.0));
}

TEST(CmaEs, FindsTheMinimumOfASphereInAnyDimension) {
  for (const std::size_t dimensions : {1U, 2U, 5U, 12U}) {
    const auto sphere = [](const Eigen::VectorXd& x) { return (x.array() - 1.5).matrix().squaredNorm(); };
    const int budget = 200 + 400 * static_cast<int>(dimensions);
    const Course course = minimise(sphere, dimensions, 0.5, budget, 1e-10);
    EXPECT_LT(sphere(course.search.mean()), 1e-10) << dimensions;
    EXPECT_LT(course.search.spread(), 0.05) << dimensions;
  }
}

// A rotated ellipsoid of condition 10^6: a search that does not learn the covariance needs 10^6 evaluations or so.
TEST(CmaEs, LearnsTheShape) {
  const Eigen::Vector4d turned = Eigen::Vector4d(1, -1, 1, 1).normalized();
  const auto ellipsoid = [&](const Eigen::VectorXd& x) {
    // Householder's reflection at `turned` as the rotation.
    const Eigen::VectorXd y = x - 2.0 * turned * turned.dot(x) - Eigen::Vector4d::Ones();
    return y[0] * y[0] + 1e2 * y[1] * y[1] + 1e4 * y[2] * y[2] + 1e6 * y[3] * y[3];
  };
  const Course course = minimise(ellipsoid, 4, 0.5, 4000, 1e-9);
  EXPECT_LT(ellipsoid(course.search.mean()), 1e-9);
}

TEST(CmaEs, FollowsACurvedValley) {
  const auto rosenbrock = [](const Eigen::VectorXd& x) {
    double sum = 0.0;
    for (Eigen::Index i = 0; i + 1 < x.size(); ++i) {
      sum += 100.0 * std::pow(x[i + 1] - x[i] * x[i], 2) + std::pow(1.0 - x[i], 2);
    }
    return sum;
  };
  EXPECT_LT(rosenbrock(minimise(rosenbrock, 3, 0.3, 6000, 1e-9).search.mean()), 1e-9);
}

// Only the order of values counts: a growing function of them changes nothing.
TEST(CmaEs, SeesTheOrderOnly) {
  const auto sphere = [](const Eigen::VectorXd& x) { return (x.array() - 0.5).matrix().squaredNorm(); };
  const auto grown = [&](const Eigen::VectorXd& x) { return std::exp(sphere(x)) - 7.0; };
  const Course first = minimise(sphere, 3, 0.5, 140, -1e9);
  const Course second = minimise(grown, 3, 0.5, 140, -1e9);
  EXPECT_EQ(first.search.mean(), second.search.mean());
  EXPECT_EQ(first.search.sigma(), second.search.sigma());
}

// Under a function of noise alone the step neither vanishes nor explodes.
TEST(CmaEs, KeepsItsStepWhereNothingIsBetter) {
  RandomStream noise = SeedTree(3).stream("noise", "", 0);
  const Course course = minimise([&](const Eigen::VectorXd&) { return noise.uniform(); }, 4, 0.5, 800, -1.0);
  EXPECT_GT(course.search.sigma(), 0.5 / 30.0);
  EXPECT_LT(course.search.sigma(), 0.5 * 30.0);
}

}  // namespace
}  // namespace soup
