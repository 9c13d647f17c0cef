// The greedy soup on scores that are known: what is kept, in which order, and that looking ahead changes nothing.
#include "experiments/greedy_search.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "core/error.hpp"
#include "core/random.hpp"

namespace soup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Scores of a table: weights -> value, each with the same error.
ScoreSoups table(std::map<InputWeights, double> values, std::optional<double> error) {
  return [values = std::move(values), error](std::span<const InputWeights> soups) {
    std::vector<Score> scores;
    for (const InputWeights& soup : soups) {
      scores.push_back({values.at(soup), error, {}});
    }
    return scores;
  };
}

TEST(GreedySearch, KeepsWhatGainsBeyondItsError) {
  // Alone: b 5, c 4, a 3, d 1. With b: c +2 (kept). Then a: +0.1 (within the error of sqrt(2) 0.1). Then d: +1 (kept).
  const ScoreSoups scores = table({{{1, 0, 0, 0}, 3},
                                   {{0, 1, 0, 0}, 5},
                                   {{0, 0, 1, 0}, 4},
                                   {{0, 0, 0, 1}, 1},
                                   {{0, 1, 1, 0}, 7},
                                   {{1, 1, 1, 0}, 7.1},
                                   {{0, 1, 1, 1}, 8}},
                                  0.1);
  const GreedyResult result = greedy_search(4, scores, {}, 1);
  EXPECT_THAT(result.order, ElementsAre(1, 2, 0, 3));
  EXPECT_THAT(result.weights, ElementsAre(0, 1, 1, 1));
  EXPECT_EQ(result.score.value, 8.0);
  ASSERT_EQ(result.steps.size(), 3U);
  EXPECT_TRUE(result.steps[0].kept);
  EXPECT_FALSE(result.steps[1].kept);
  EXPECT_NEAR(result.steps[1].improvement.value, 0.1, 1e-12);
  EXPECT_NEAR(result.steps[1].improvement.standard_error.value(), std::sqrt(0.02), 1e-12);
  EXPECT_TRUE(result.steps[2].kept);
}

TEST(GreedySearch, WantsMoreThanTheMargin) {
  const ScoreSoups scores = table({{{1, 0}, 1.0}, {{0, 1}, 0.5}, {{1, 1}, 1.0}}, std::nullopt);
  EXPECT_THAT(greedy_search(2, scores, {true, 0.0}, 1).weights, ElementsAre(1, 0)) << "as good is not better";
  const ScoreSoups exact = table({{{1, 0}, 1.0}, {{0, 1}, 0.5}, {{1, 1}, 1.5}}, std::nullopt);
  EXPECT_THAT(greedy_search(2, exact, {true, 0.0}, 1).weights, ElementsAre(1, 1));
  try {
    greedy_search(2, exact, {true, 1.0}, 1);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("gives no standard error"));
    EXPECT_THAT(error.what(), HasSubstr("--margin 0"));
  }
}

TEST(GreedySearch, TakesLossesTheOtherWayRound) {
  const ScoreSoups scores = table({{{1, 0}, 3}, {{0, 1}, 2}, {{1, 1}, 1}}, 0.1);
  const GreedyResult result = greedy_search(2, scores, {false, 1.0}, 1);
  EXPECT_THAT(result.order, ElementsAre(1, 0));
  EXPECT_THAT(result.weights, ElementsAre(1, 1));
}

TEST(GreedySearch, KeepsTheInputsOrderAmongEquals) {
  const ScoreSoups scores =
      table({{{1, 0, 0}, 1}, {{0, 1, 0}, 1}, {{0, 0, 1}, 1}, {{1, 1, 0}, 0}, {{1, 0, 1}, 0}}, 0.1);
  EXPECT_THAT(greedy_search(3, scores, {}, 1).order, ElementsAre(0, 1, 2));
}

// Scores drawn from the soup's weights.
std::vector<Score> drawn(std::uint64_t seed, std::span<const InputWeights> soups) {
  std::vector<Score> scores;
  for (const InputWeights& soup : soups) {
    std::uint64_t number = 0;
    for (const double weight : soup) {
      number = 2 * number + static_cast<std::uint64_t>(weight);
    }
    scores.push_back({SeedTree(seed).stream("score", "", number).uniform(), 0.1, {}});
  }
  return scores;
}

TEST(GreedySearch, LooksAheadWithoutADifference) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto scores = [seed](std::span<const InputWeights> soups) { return drawn(seed, soups); };
    const GreedyResult one = greedy_search(7, scores, {}, 1);
    ASSERT_EQ(one.steps.size(), 6U);
    for (const std::size_t ahead : {2U, 3U, 4U, 100U}) {
      const GreedyResult many = greedy_search(7, scores, {}, ahead);
      ASSERT_EQ(many.steps.size(), one.steps.size());
      for (std::size_t i = 0; i < one.steps.size(); ++i) {
        EXPECT_EQ(many.steps[i].input, one.steps[i].input);
        EXPECT_EQ(many.steps[i].kept, one.steps[i].kept);
        EXPECT_EQ(many.steps[i].score.value, one.steps[i].score.value);
      }
      EXPECT_EQ(many.weights, one.weights);
    }
  }
}

}  // namespace
}  // namespace soup
