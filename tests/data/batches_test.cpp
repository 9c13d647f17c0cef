// The order of training images.
#include "data/batches.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "core/error.hpp"

namespace soup {
namespace {

std::vector<std::uint64_t> epoch(SampleOrder& order, std::uint64_t number, std::uint64_t images) {
  std::vector<std::uint64_t> items(images);
  for (std::uint64_t i = 0; i < images; ++i) {
    items[i] = order.at(number * images + i);
  }
  return items;
}

TEST(SampleOrder, EveryEpochVisitsEveryImageOnce) {
  for (const std::uint64_t images : {1U, 2U, 7U, 1000U}) {
    SampleOrder order(SeedTree(5), "north", images);
    for (std::uint64_t number = 0; number < 4; ++number) {
      auto items = epoch(order, number, images);
      std::sort(items.begin(), items.end());
      std::vector<std::uint64_t> all(images);
      std::iota(all.begin(), all.end(), 0U);
      EXPECT_EQ(items, all) << images << " images, epoch " << number;
    }
  }
}

TEST(SampleOrder, IsTheSameWhateverTheAccessPattern) {
  constexpr std::uint64_t images = 37;
  SampleOrder forward(SeedTree(9), "north", images);
  std::vector<std::uint64_t> expected;
  for (std::uint64_t counter = 0; counter < 5 * images; ++counter) {
    expected.push_back(forward.at(counter));
  }
  SampleOrder backward(SeedTree(9), "north", images);
  for (std::uint64_t counter = 5 * images; counter-- > 0;) {
    ASSERT_EQ(backward.at(counter), expected[counter]) << "counter " << counter;
  }
  SampleOrder strided(SeedTree(9), "north", images);  // as one of four ranks sees it
  for (std::uint64_t counter = 3; counter < 5 * images; counter += 4) {
    ASSERT_EQ(strided.at(counter), expected[counter]) << "counter " << counter;
  }
}

TEST(SampleOrder, DependsOnSeedScopeAndEpoch) {
  constexpr std::uint64_t images = 50;
  SampleOrder one(SeedTree(1), "north", images);
  SampleOrder other_seed(SeedTree(2), "north", images);
  SampleOrder other_scope(SeedTree(1), "south", images);
  const std::set<std::vector<std::uint64_t>> orders{epoch(one, 0, images), epoch(one, 1, images),
                                                    epoch(other_seed, 0, images), epoch(other_scope, 0, images)};
  EXPECT_EQ(orders.size(), 4U);
}

TEST(SampleOrder, DrawsAllPermutationsEquallyOften) {
  // 3! = 6 permutations in 6,000 epochs: each 1,000 times with a standard deviation of 29; the bound is five of them.
  SampleOrder order(SeedTree(3), "north", 3);
  std::map<std::vector<std::uint64_t>, int> counts;
  for (std::uint64_t number = 0; number < 6000; ++number) {
    ++counts[epoch(order, number, 3)];
  }
  EXPECT_EQ(counts.size(), 6U);
  for (const auto& [permutation, count] : counts) {
    EXPECT_NEAR(count, 1000, 145);
  }
}

TEST(SampleOrder, NeedsImages) {
  EXPECT_THROW(SampleOrder(SeedTree(1), "north", 0), InvariantError);
  EXPECT_THROW(SampleOrder(SeedTree(1), "north", 1ULL << 33), InvariantError);
}

}  // namespace
}  // namespace soup
