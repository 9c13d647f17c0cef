// Difference hashes and duplicates across shards.
#include "data/duplicates.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <functional>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

// Grey of the cell (row, column) of a 9 x 8 image.
Image from_cells(const std::function<int(int row, int column)>& grey, int zoom) {
  Image image{8 * zoom, 9 * zoom, 3, {}};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      image.pixels.insert(image.pixels.end(), 3, static_cast<std::uint8_t>(grey(y / zoom, x / zoom)));
    }
  }
  return image;
}

TEST(DifferenceHash, KnownPatterns) {
  EXPECT_EQ(difference_hash(test::flat_image(32, 32, 77)), 0U);
  EXPECT_EQ(difference_hash(from_cells([](int, int column) { return 20 * column; }, 1)), ~0ULL);
  EXPECT_EQ(difference_hash(from_cells([](int, int column) { return 200 - 20 * column; }, 3)), 0U);
  // Columns 0, 2, 4, ... dark: brighter to the right at every second place: 10101010 in each row.
  EXPECT_EQ(difference_hash(from_cells([](int, int column) { return 255 * (column % 2); }, 2)), 0xaaaaaaaaaaaaaaaaULL);
  // Only row 0, only between columns 3 and 4: the fifth bit from the top.
  EXPECT_EQ(difference_hash(from_cells([](int row, int column) { return row == 0 && column > 3 ? 9 : 0; }, 1)),
            1ULL << 60);
}

TEST(DifferenceHash, IsExactWhereCellsCutPixels) {
  // 10 columns on 9 cells: cell 0 holds pixel 0 and 1/9 of pixel 1. A ramp still rises everywhere.
  Image ramp{11, 10, 1, {}};
  for (int y = 0; y < 11; ++y) {
    for (int x = 0; x < 10; ++x) {
      ramp.pixels.push_back(static_cast<std::uint8_t>(x));
    }
  }
  EXPECT_EQ(difference_hash(ramp), ~0ULL);
  // Smaller than the 9 x 8 cells: a pixel spans several, which are equal inside it.
  const Image two{1, 2, 1, {0, 200}};
  // The border of the two pixels cuts cell 4 in halves: it is brighter than cell 3 and darker than cell 5.
  EXPECT_EQ(difference_hash(two), 0x1818181818181818ULL);
}

TEST(DifferenceHash, GreyFollowsTheEyeNotTheMean) {
  // Blue 255 (luma 29) left of green 100 (luma 59): the mean would say brighter, the eye darker.
  Image image{8, 9, 3, {}};
  for (int pixel = 0; pixel < 72; ++pixel) {
    const std::uint8_t blue = pixel % 9 == 0 ? 255 : 0;
    const std::uint8_t green = pixel % 9 == 0 ? 0 : 100;
    image.pixels.insert(image.pixels.end(), {0, green, blue});
  }
  EXPECT_EQ(difference_hash(image), 0x8080808080808080ULL);
}

class Duplicates : public testing::Test {
 protected:
  ShardFile shard(const std::string& name, const std::vector<Image>& images) {
    const auto path = folder_.path() / (name + ".h5");
    ShardWriter writer(path, test::origin, images[0].height, images[0].width, 3);
    for (std::size_t i = 0; i < images.size(); ++i) {
      writer.append(test::sample(images[i], "apps " + name, name + std::to_string(i)));
    }
    writer.finish();
    return ShardFile(path);
  }
  static Image noise(std::uint64_t seed) { return test::noise_image(16, 16, 3, seed); }
  // The image with `value` added to every pixel that does not overflow: hashes stay, the RMS is known.
  static Image brighter(Image image, int value) {
    for (std::uint8_t& pixel : image.pixels) {
      pixel = static_cast<std::uint8_t>(100 + pixel / 4 + value);
    }
    return image;
  }
  test::TemporaryFolder folder_;
};

TEST_F(Duplicates, FindsExactOnesOnceInTheEarliestShard) {
  std::vector<ShardFile> shards;
  shards.push_back(shard("a", {noise(1), noise(2), noise(2)}));  // equal inside one shard: not reported
  shards.push_back(shard("b", {noise(3), noise(2)}));
  shards.push_back(shard("c", {noise(2), noise(3), noise(4)}));
  const auto pairs = cross_shard_duplicates(shards, {});
  ASSERT_EQ(pairs.size(), 3U);
  const auto is = [&](const DuplicatePair& pair, std::size_t s1, std::size_t i1, std::size_t s2, std::size_t i2) {
    EXPECT_EQ(pair.first_shard, s1);
    EXPECT_EQ(pair.first_image, i1);
    EXPECT_EQ(pair.second_shard, s2);
    EXPECT_EQ(pair.second_image, i2);
    EXPECT_TRUE(pair.exact);
    EXPECT_EQ(pair.distance, 0);
    EXPECT_EQ(pair.rms, 0.0);
  };
  is(pairs[0], 0, 1, 1, 1);
  is(pairs[1], 0, 1, 2, 0);
  is(pairs[2], 1, 0, 2, 1);
}

TEST_F(Duplicates, FindsNearOnesWithinTheLimitsOnly) {
  std::vector<ShardFile> shards;
  shards.push_back(shard("a", {brighter(noise(1), 0), brighter(noise(2), 0)}));
  shards.push_back(shard("b", {brighter(noise(2), 12), brighter(noise(1), 13), noise(9)}));
  const auto pairs = cross_shard_duplicates(shards, {});
  ASSERT_EQ(pairs.size(), 1U);  // 13 is over the limit of 12
  EXPECT_EQ(pairs[0].first_image, 1U);
  EXPECT_EQ(pairs[0].second_image, 0U);
  EXPECT_FALSE(pairs[0].exact);
  EXPECT_EQ(pairs[0].distance, 0);
  EXPECT_DOUBLE_EQ(pairs[0].rms, 12.0);
}

TEST_F(Duplicates, TakesTheNearestAndListsExactOnesFirst) {
  std::vector<ShardFile> shards;
  shards.push_back(shard("a", {brighter(noise(1), 9), brighter(noise(1), 4), noise(5)}));
  shards.push_back(shard("b", {brighter(noise(1), 0), noise(5)}));
  const auto pairs = cross_shard_duplicates(shards, {});
  ASSERT_EQ(pairs.size(), 2U);
  EXPECT_TRUE(pairs[0].exact);
  EXPECT_EQ(pairs[0].second_image, 1U);
  EXPECT_EQ(pairs[1].first_image, 1U);
  EXPECT_DOUBLE_EQ(pairs[1].rms, 4.0);
}

TEST_F(Duplicates, AgreeWithComparingAllPairs) {
  // Few grey levels in the cells make many near pairs; the oracle looks at every pair.
  const auto coarse = [](std::uint64_t seed) {
    RandomStream stream = SeedTree(seed).stream("cells", "", 0);
    const std::uint64_t row = stream.below(8);
    const std::uint64_t column = stream.below(8);
    return from_cells(
        [&](int r, int c) {
          return 8 * c + (static_cast<std::uint64_t>(r) == row && static_cast<std::uint64_t>(c) == column ? 20 : 0);
        },
        2);
  };
  std::vector<ShardFile> shards;
  std::uint64_t seed = 0;
  for (const char* name : {"a", "b", "c"}) {
    std::vector<Image> images;
    for (int i = 0; i < 40; ++i) {
      images.push_back(coarse(++seed));
    }
    shards.push_back(shard(name, images));
  }
  for (const int limit : {0, 1, 2, 3}) {
    std::size_t expected = 0;
    for (std::size_t s2 = 1; s2 < 3; ++s2) {
      for (std::size_t i2 = 0; i2 < 40; ++i2) {
        bool any = false;
        for (std::size_t s1 = 0; s1 < s2; ++s1) {
          for (std::size_t i1 = 0; i1 < 40; ++i1) {
            any = any || std::popcount(shards[s1].perceptual_hash(i1) ^ shards[s2].perceptual_hash(i2)) <= limit;
          }
        }
        expected += any ? 1 : 0;
      }
    }
    EXPECT_EQ(cross_shard_duplicates(shards, {.hash_distance = limit, .rms_limit = 255.0}).size(), expected)
        << "distance " << limit;
    EXPECT_GT(expected, 0U);
  }
}

TEST_F(Duplicates, OblongsOfOtherSidesAreNone) {
  const Image wide = test::noise_image(8, 32, 3, 1);
  std::vector<ShardFile> shards;
  shards.push_back(shard("a", {noise(1)}));
  shards.push_back(shard("b", {wide, test::noise_image(8, 32, 3, 2)}));
  shards.push_back(
      shard("c", {{32, 8, 3, wide.pixels}, {32, 8, 3, std::vector<std::uint8_t>(768)}}));  // the same bytes
  shards.push_back(shard("d", {wide}));
  const auto pairs = cross_shard_duplicates(shards, {});
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].first_shard, 1U);
  EXPECT_EQ(pairs[0].second_shard, 3U);
}

TEST_F(Duplicates, RefusesWhatItCannotCompare) {
  std::vector<ShardFile> shards;
  shards.push_back(shard("a", {noise(1)}));
  EXPECT_TRUE(cross_shard_duplicates(shards, {}).empty());
  EXPECT_TRUE(cross_shard_duplicates({}, {}).empty());
  EXPECT_THROW(cross_shard_duplicates(shards, {.hash_distance = 4}), ConfigError);
  shards.push_back(shard("b", {test::noise_image(8, 8, 3, 1)}));
  const std::string error = test::data_error([&] { cross_shard_duplicates(shards, {}); });
  EXPECT_THAT(error, testing::HasSubstr("8 x 8 x 3"));
  EXPECT_THAT(error, testing::HasSubstr("16 x 16 x 3"));
}

}  // namespace
}  // namespace soup
