// Weights learned from scores whose best weights are known.
#include "experiments/learned_search.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

#include "core/error.hpp"

namespace soup {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(SimplexWeights, AreEqualAtTheOriginAndSymmetric) {
  EXPECT_THAT(simplex_weights({0.0, 0.0, 0.0}), ElementsAre(0.25, 0.25, 0.25, 0.25));
  // Two inputs: log(w1 / w0) = -sqrt(2) x.
  const InputWeights two = simplex_weights({0.7});
  EXPECT_NEAR(std::log(two[1] / two[0]), -std::sqrt(2.0) * 0.7, 1e-14);
  EXPECT_NEAR(two[0] + two[1], 1.0, 1e-15);
}

// The basis is orthonormal: lengths of centred logarithms are those of the coordinates.
TEST(SimplexWeights, KeepLengths) {
  const std::vector<double> x{0.3, -1.1, 0.4, 2.0};
  InputWeights logs = simplex_weights(x);
  ASSERT_EQ(logs.size(), 5U);
  EXPECT_NEAR(std::accumulate(logs.begin(), logs.end(), 0.0), 1.0, 1e-15);
  double mean = 0.0;
  for (double& value : logs) {
    value = std::log(value);
    mean += value / 5.0;
  }
  double squares = 0.0;
  for (const double value : logs) {
    squares += (value - mean) * (value - mean);
  }
  EXPECT_NEAR(squares, 0.3 * 0.3 + 1.1 * 1.1 + 0.4 * 0.4 + 2.0 * 2.0, 1e-12);
}

TEST(SimplexWeights, SurviveFarCoordinates) {
  EXPECT_THAT(simplex_weights({2000.0}), ElementsAre(1.0, 0.0));
  EXPECT_THAT(simplex_weights({-2000.0}), ElementsAre(0.0, 1.0));
}

// The score is best at 0.6, 0.3, 0.1.
std::vector<Score> distances(std::span<const InputWeights> soups) {
  const InputWeights best{0.6, 0.3, 0.1};
  std::vector<Score> scores;
  for (const InputWeights& soup : soups) {
    double sum = 0.0;
    for (std::size_t i = 0; i < soup.size(); ++i) {
      sum += (soup[i] - best[i]) * (soup[i] - best[i]);
    }
    scores.push_back({sum, std::nullopt, {}});
  }
  return scores;
}

TEST(LearnedSearch, ComesToTheBestWeightsWithinItsBudget) {
  std::size_t scored = 0;
  std::size_t told = 0;
  const auto scores = [&](std::span<const InputWeights> soups) {
    scored += soups.size();
    return distances(soups);
  };
  const LearnedResult result =
      learned_search(3, scores, false, {.budget = 150}, [&](const LearnedGeneration&) { ++told; });
  EXPECT_THAT(result.weights, ElementsAre(DoubleNear(0.6, 0.01), DoubleNear(0.3, 0.01), DoubleNear(0.1, 0.01)));
  EXPECT_LE(scored + 1, 150U) << "the equal weights are the caller's";
  EXPECT_EQ(result.generations.size(), told);
  EXPECT_EQ(result.generations.size() * 6 + 1, scored);
  EXPECT_EQ(result.score.value, distances(std::span(&result.weights, 1)).front().value);
}

TEST(LearnedSearch, MaximisesToo) {
  const auto scores = [](std::span<const InputWeights> soups) {
    std::vector<Score> found = distances(soups);
    for (Score& score : found) {
      score.value = -score.value;
    }
    return found;
  };
  const LearnedResult up = learned_search(3, scores, true, {.budget = 60});
  const LearnedResult down = learned_search(3, distances, false, {.budget = 60});
  EXPECT_EQ(up.weights, down.weights);
}

TEST(LearnedSearch, IsAFunctionOfItsSeed) {
  const auto weights = [](std::uint64_t seed) {
    return learned_search(3, distances, false, {.budget = 30, .seed = seed}).weights;
  };
  EXPECT_EQ(weights(1), weights(1));
  EXPECT_NE(weights(1), weights(2));
}

TEST(LearnedSearch, EndsWhenWeightsHaveSettled) {
  const LearnedResult result = learned_search(2,
                                              [](auto soups) {
                                                std::vector<Score> scores;
                                                for (const InputWeights& soup : soups) {
                                                  scores.push_back({std::abs(soup[0] - 0.5), std::nullopt, {}});
                                                }
                                                return scores;
                                              },
                                              false, {.budget = 100000});
  EXPECT_LT(result.generations.size(), 200U);
  EXPECT_NEAR(result.weights[0], 0.5, 0.01);
}

TEST(LearnedSearch, RefusesWhatCannotBeSearched) {
  EXPECT_THROW(learned_search(1, distances, false, {}), ConfigError);
  try {
    learned_search(3, distances, false, {.budget = 7});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--budget 7 is less than one generation of 6 soups"));
  }
  EXPECT_EQ(learned_search(3, distances, false, {.budget = 8}).generations.size(), 1U);
}

}  // namespace
}  // namespace soup
