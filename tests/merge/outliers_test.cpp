// The rules for outliers on models whose drifts and cosines are chosen.
#include "merge/outliers.hpp"

#include <gmock/gmock.h>

#include <cmath>

namespace soup {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

// One part with one block per entry; deltas[m] holds model m's delta; the base is 1 in the first weight.
Difference difference_of(const std::vector<std::pair<std::string, std::vector<std::vector<double>>>>& blocks,
                         Reference reference = Reference::base) {
  Difference difference;
  difference.reference = reference;
  PartDifference part{"unet", "unet", {}};
  const std::size_t models = blocks.front().second.size();
  for (const auto& [name, deltas] : blocks) {
    TensorDifference tensor;
    tensor.name = name + ".weight";
    tensor.block = name;
    tensor.sums = DeltaSums(models);
    std::vector<double> base(deltas.front().size(), 0.0);
    base.front() = 1.0;
    tensor.sums.add(base, deltas);
    tensor.changes.resize(models);
    tensor.not_finite.resize(models);
    for (std::size_t m = 0; m < models; ++m) {
      tensor.changes[m].equal = tensor.sums.norm(m) == 0.0;
    }
    part.tensors.push_back(std::move(tensor));
  }
  for (std::size_t m = 0; m < models; ++m) {
    difference.models.push_back({std::string(1, static_cast<char>('a' + m)), {}});
  }
  difference.parts.push_back(std::move(part));
  return difference;
}

std::vector<std::vector<double>> lengths(const std::vector<double>& values) {
  std::vector<std::vector<double>> deltas;
  for (const double value : values) {
    deltas.push_back({value});
  }
  return deltas;
}

TEST(Outliers, ModifiedScoreOfFourModelsOrMore) {
  // Median 0.12, deviations 0.02 0.01 0 0.01 0.28: MAD 0.01.
  const Outliers found = find_outliers(difference_of({{"block", lengths({0.10, 0.11, 0.12, 0.13, 0.40})}}));
  ASSERT_EQ(found.drifts.size(), 2u) << "the whole part and its one block";
  EXPECT_EQ(found.drifts[0].block, "");
  EXPECT_EQ(found.drifts[1].block, "block");
  EXPECT_EQ(found.drifts[1].model, 4u);
  EXPECT_DOUBLE_EQ(found.drifts[1].drift, 0.40);
  EXPECT_DOUBLE_EQ(found.drifts[1].median, 0.12);
  EXPECT_NEAR(found.drifts[1].score, 0.6745 * 28, 1e-9);
  EXPECT_THAT(found.drift_rule, HasSubstr("modified z-score beyond 3.5 among 5 models"));
}

TEST(Outliers, CutoffIsThreeAndAHalf) {
  // Median 1, MAD 0.1: 3.5 is at 1.5189.
  EXPECT_THAT(find_outliers(difference_of({{"b", lengths({0.9, 0.9, 1.0, 1.1, 1.518})}})).drifts, IsEmpty());
  EXPECT_EQ(find_outliers(difference_of({{"b", lengths({0.9, 0.9, 1.0, 1.1, 1.520})}})).drifts.size(), 2u);
}

TEST(Outliers, ModelsThatMovedLessStandOutToo) {
  const Outliers found = find_outliers(difference_of({{"b", lengths({1.0, 1.05, 0.1, 0.95, 1.0})}}));
  ASSERT_EQ(found.drifts.size(), 2u);
  EXPECT_EQ(found.drifts[0].model, 2u);
  EXPECT_LT(found.drifts[0].score, -3.5);
}

TEST(Outliers, CloseAgreementMakesNoOutlierOfLittle) {
  EXPECT_THAT(find_outliers(difference_of({{"b", lengths({1.0, 1.0001, 1.0002, 1.0003, 1.2})}})).drifts, IsEmpty());
}

TEST(Outliers, WithoutSpreadTheMeanDeviationStandsIn) {
  // MAD 0; mean deviation 0.2; (2 - 1) / (1.253314 * 0.2) = 3.99.
  const Outliers found = find_outliers(difference_of({{"b", lengths({1.0, 1.0, 1.0, 1.0, 2.0})}}));
  ASSERT_EQ(found.drifts.size(), 2u);
  EXPECT_NEAR(found.drifts[0].score, 1.0 / (1.253314 * 0.2), 1e-12);
  EXPECT_THAT(find_outliers(difference_of({{"b", lengths({1.0, 1.0, 1.0, 1.0})}})).drifts, IsEmpty());
}

TEST(Outliers, FewModelsAreComparedByRatio) {
  const Outliers found = find_outliers(difference_of({{"b", lengths({0.1, 0.2, 0.46})}}));
  ASSERT_EQ(found.drifts.size(), 2u);
  EXPECT_EQ(found.drifts[0].model, 2u);
  EXPECT_DOUBLE_EQ(found.drifts[0].median, 0.15);
  EXPECT_NEAR(found.drifts[0].score, 0.46 / 0.15, 1e-12);
  EXPECT_THAT(found.drift_rule, HasSubstr("3 times the median of the other"));
  EXPECT_THAT(find_outliers(difference_of({{"b", lengths({0.1, 0.2, 0.44})}})).drifts, IsEmpty());
  EXPECT_EQ(find_outliers(difference_of({{"b", lengths({0.1, 0.31})}})).drifts.size(), 2u);
  EXPECT_EQ(find_outliers(difference_of({{"b", lengths({0.5})}})).count(), 0u);
}

TEST(Outliers, BlocksAreSortedByHowFarTheyStandOut) {
  const Outliers found = find_outliers(
      difference_of({{"mild", lengths({1.0, 1.1, 0.9, 1.0, 2.0})}, {"wild", lengths({0.9, 1.0, 1.0, 1.1, 9.0})}}));
  ASSERT_EQ(found.drifts.size(), 3u);
  EXPECT_EQ(found.drifts[0].block, "");
  EXPECT_EQ(found.drifts[1].block, "wild");
  EXPECT_EQ(found.drifts[2].block, "mild");
}

TEST(Outliers, AModelThatDidNotMoveIsSaidOnce) {
  const Outliers found = find_outliers(difference_of({{"b", lengths({1.0, 1.1, 0.0, 0.9, 1.0})}}));
  ASSERT_EQ(found.unmoved.size(), 1u);
  EXPECT_EQ(found.unmoved[0].model, 2u);
  EXPECT_THAT(found.drifts, IsEmpty());
}

// Two deltas of `count` weights at the given cosine.
std::vector<std::vector<double>> pair_at(double cosine, std::size_t count) {
  std::vector<std::vector<double>> deltas(2, std::vector<double>(count, 0.0));
  deltas[0][0] = 1.0;
  deltas[1][0] = cosine;
  deltas[1][1] = std::sqrt(1.0 - cosine * cosine);
  return deltas;
}

TEST(Outliers, OpposedDeltas) {
  const Outliers found = find_outliers(difference_of({{"b", pair_at(-0.2, 10000)}}));
  ASSERT_EQ(found.opposed.size(), 2u);
  EXPECT_EQ(found.opposed[0].block, "");
  EXPECT_EQ(found.opposed[1].a, 0u);
  EXPECT_EQ(found.opposed[1].b, 1u);
  EXPECT_NEAR(found.opposed[1].cosine, -0.2, 1e-12);
  EXPECT_THAT(find_outliers(difference_of({{"b", pair_at(-0.09, 10000)}})).opposed, IsEmpty());
  EXPECT_THAT(find_outliers(difference_of({{"b", pair_at(0.9, 10000)}})).opposed, IsEmpty());
  // Among 100 weights chance alone has a standard deviation of 0.1.
  EXPECT_THAT(find_outliers(difference_of({{"b", pair_at(-0.2, 100)}})).opposed, IsEmpty());
  EXPECT_EQ(find_outliers(difference_of({{"b", pair_at(-0.4, 100)}})).opposed.size(), 2u);
}

TEST(Outliers, FromTheirMeanModelsPointApartByNature) {
  // Three unrelated deltas seen from their mean have cosine -1/2.
  std::vector<std::vector<double>> deltas(3, std::vector<double>(10000, 0.0));
  for (std::size_t m = 0; m < 3; ++m) {
    for (std::size_t i = 0; i < 3; ++i) {
      deltas[m][i] = m == i ? 2.0 : -1.0;
    }
  }
  const Outliers found = find_outliers(difference_of({{"b", deltas}}, Reference::mean));
  EXPECT_THAT(found.opposed, IsEmpty());
  EXPECT_THAT(found.opposed_rule, HasSubstr("-0.6"));
  EXPECT_EQ(find_outliers(difference_of({{"b", deltas}})).opposed.size(), 6u);
}

}  // namespace
}  // namespace soup
