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

TEST(BucketOrder, WithOneBucketItIsTheSampleOrder) {
  SampleOrder plain(SeedTree(3), "oxygen", 10);
  BucketOrder buckets(SeedTree(3), "oxygen", {10}, 4);
  for (std::uint64_t counter = 0; counter < 40; ++counter) {
    EXPECT_EQ(buckets.at(counter), plain.at(counter));
  }
}

TEST(BucketOrder, BatchesAreOfOneBucketAndSharesAreFair) {
  const std::vector<std::uint64_t> sizes = {50, 7, 1, 20};
  constexpr std::uint64_t batch = 4;
  const auto bucket_of = [](std::uint64_t image) { return image < 50 ? 0 : (image < 57 ? 1 : (image < 58 ? 2 : 3)); };
  BucketOrder order(SeedTree(3), "oxygen", sizes, batch);
  std::vector<std::uint64_t> seen(78, 0);
  std::vector<std::uint64_t> all;
  for (std::uint64_t counter = 0; counter < 78 * 12; ++counter) {
    const std::uint64_t image = order.at(counter);
    ASSERT_LT(image, 78U);
    if (counter % batch != 0) {
      EXPECT_EQ(bucket_of(image), bucket_of(all.back()));
    }
    all.push_back(image);
    ++seen[image];
  }
  for (std::uint64_t image = 0; image < seen.size(); ++image) {
    // Twelve epochs: within an epoch of its bucket and a batch of its share.
    const double size = static_cast<double>(sizes[static_cast<std::size_t>(bucket_of(image))]);
    EXPECT_NEAR(static_cast<double>(seen[image]), 12.0, 1.0 + 2.0 * static_cast<double>(batch) / size) << image;
  }
  // A training that resumes, and ranks that take their shares of a batch, draw the same.
  BucketOrder resumed(SeedTree(3), "oxygen", sizes, batch);
  for (const std::uint64_t counter : {500U, 501U, 8U, 900U, 2U, 3U}) {
    EXPECT_EQ(resumed.at(counter), all[counter]) << counter;
  }
}

}  // namespace
}  // namespace soup
