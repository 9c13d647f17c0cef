// The headline says what the differences say, no more.
#include "experiments/verdict.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace soup {
namespace {

using testing::HasSubstr;

TEST(Verdict, FollowsEachScoresDirection) {
  EXPECT_EQ(outcome_of(*find_score_kind("alignment"), {0.03, 0.01, 64}), 1);
  EXPECT_EQ(outcome_of(*find_score_kind("alignment"), {-0.03, 0.01, 64}), -1);
  EXPECT_EQ(outcome_of(*find_score_kind("kernel_distance"), {0.03, 0.01, 64}), -1);
  EXPECT_EQ(outcome_of(*find_score_kind("kernel_distance"), {-0.03, 0.01, 64}), 1);
}

TEST(Verdict, TwoStandardErrorsAreNotEnoughAndUnknownErrorsNeither) {
  const ScoreKind& kind = *find_score_kind("alignment");
  EXPECT_EQ(outcome_of(kind, {0.5, 0.25, 64}), 0);
  EXPECT_EQ(outcome_of(kind, {0.0, 0.0, 64}), 0);
  EXPECT_EQ(outcome_of(kind, {0.5, std::nan(""), 1}), 0);
}

Comparison differences(double alignment, double kernel, double style) {
  return {"soup",
          "paragon/equal-total",
          "ema",
          {{"alignment", {alignment, 0.01, 64}},
           {"kernel_distance", {kernel, 0.01, 64}},
           {"style_accuracy", {style, 0.01, 32}},
           {"alignment_plain", {-9.0, 0.01, 32}}}};  // a variant: not judged again
}

TEST(Verdict, NamesWinnersAndLosers) {
  EXPECT_EQ(judge(differences(0.1, -0.1, 0.0), "the paragon").headline,
            "The soup beat the paragon on 2 of 3 scores and lost on none.");
  EXPECT_EQ(judge(differences(0.0, 0.1, 0.0), "the paragon").headline,
            "The soup did not beat the paragon: it lost on 1 of 3 scores and won on none.");
  EXPECT_EQ(judge(differences(0.1, 0.1, -0.1), "the paragon").headline,
            "A mixed result: the soup beat the paragon on alignment, but lost on style accuracy and kernel distance.");
  EXPECT_THAT(judge(differences(0.0, 0.0, 0.0), "the paragon").headline, HasSubstr("No difference"));
  EXPECT_THAT(judge({"soup", "x", "ema", {}}, "x").headline, HasSubstr("no score"));
}

}  // namespace
}  // namespace soup
