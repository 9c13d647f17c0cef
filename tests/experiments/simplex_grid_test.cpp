// The grid of a sweep: every point once, in order, as many as combinatorics says.
#include "experiments/simplex_grid.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace soup {
namespace {

using testing::ElementsAre;

// C(n, k) from Pascal's triangle.
std::uint64_t binomial(int n, int k) {
  return k == 0 || k == n ? 1 : binomial(n - 1, k - 1) + binomial(n - 1, k);
}

TEST(SimplexGrid, HasEveryPointOnce) {
  for (int inputs = 1; inputs <= 5; ++inputs) {
    for (int steps = 1; steps <= 7; ++steps) {
      const std::vector<GridWeights> grid = simplex_grid(static_cast<std::size_t>(inputs), steps);
      EXPECT_EQ(grid.size(), binomial(steps + inputs - 1, inputs - 1));
      EXPECT_EQ(simplex_points(static_cast<std::size_t>(inputs), steps), grid.size());
      EXPECT_EQ(std::set<GridWeights>(grid.begin(), grid.end()).size(), grid.size());
      for (const GridWeights& weights : grid) {
        EXPECT_EQ(static_cast<int>(weights.size()), inputs);
        EXPECT_EQ(std::accumulate(weights.begin(), weights.end(), 0), steps);
        EXPECT_GE(std::ranges::min(weights), 0);
      }
    }
  }
}

TEST(SimplexGrid, GoesFromTheFirstCornerToTheLast) {
  EXPECT_THAT(simplex_grid(2, 2), ElementsAre(GridWeights{2, 0}, GridWeights{1, 1}, GridWeights{0, 2}));
  EXPECT_THAT(simplex_grid(3, 2), ElementsAre(GridWeights{2, 0, 0}, GridWeights{1, 1, 0}, GridWeights{1, 0, 1},
                                              GridWeights{0, 2, 0}, GridWeights{0, 1, 1}, GridWeights{0, 0, 2}));
}

TEST(SimplexGrid, LargeCountsStopCounting) {
  EXPECT_EQ(simplex_points(2, 1000), 1001u);
  EXPECT_EQ(simplex_points(3, 1000), 1001u * 1002 / 2);
  EXPECT_EQ(simplex_points(4, 1000), 167668501u);
  EXPECT_EQ(simplex_points(7, 1000), most_counted_points);
  EXPECT_EQ(simplex_points(1000, 1000), most_counted_points);
  EXPECT_EQ(simplex_points(1000, 1), 1000u);
}

TEST(PointName, SortsAsTheWeightsDo) {
  EXPECT_EQ(point_name({4, 0, 0}, 4), "4-0-0");
  EXPECT_EQ(point_name({4, 8, 0}, 12), "04-08-00");
  EXPECT_EQ(point_name({100, 0}, 100), "100-000");
  std::vector<std::string> names;
  for (const GridWeights& weights : simplex_grid(3, 12)) {
    names.push_back(point_name(weights, 12));
  }
  EXPECT_TRUE(std::ranges::is_sorted(names, std::ranges::greater()));
}

}  // namespace
}  // namespace soup
