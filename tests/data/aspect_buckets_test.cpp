// Aspect-ratio buckets: the list that kohya's trainers make, and the choice for one image.
#include "data/aspect_buckets.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.hpp"
#include "core/random.hpp"

namespace soup {
namespace {

TEST(AspectBuckets, AreKohyasFor512) {
  // make_bucket_resolutions((512, 512), min_size=256, max_size=1024, divisible=64), as (width, height).
  const std::vector<ImageSize> expected{{256, 832}, {256, 896}, {256, 960}, {256, 1024}, {320, 704}, {320, 768},
                                        {384, 640}, {448, 576}, {512, 512}, {576, 448},  {640, 384}, {704, 320},
                                        {768, 320}, {832, 256}, {896, 256}, {960, 256},  {1024, 256}};
  EXPECT_EQ(aspect_buckets({}), expected);
}

TEST(AspectBuckets, KeepTheirLimits) {
  for (const int resolution : {32, 256, 768, 1024}) {
    const AspectBucketOptions options{resolution, 32, 32, 2048};
    const std::vector<ImageSize> sizes = aspect_buckets(options);
    EXPECT_THAT(sizes, testing::Contains(ImageSize{resolution, resolution}));
    for (const ImageSize& size : sizes) {
      EXPECT_LE(size.height * size.width, resolution * resolution);
      EXPECT_EQ(size.height % 32 + size.width % 32, 0);
      EXPECT_GE(std::min(size.height, size.width), 32);
      EXPECT_LE(std::max(size.height, size.width), 2048);
      EXPECT_THAT(sizes, testing::Contains(ImageSize{size.width, size.height}));
    }
  }
}

TEST(AspectBuckets, OptionsWithoutBucketsAreRefused) {
  EXPECT_THROW(aspect_buckets({512, 64, 100, 1024}), ConfigError);
  EXPECT_THROW(aspect_buckets({512, 64, 256, 192}), ConfigError);
  EXPECT_THROW(aspect_buckets({128, 64, 256, 1024}), ConfigError);
  EXPECT_THROW(aspect_buckets({512, 0, 256, 1024}), ConfigError);
  EXPECT_THROW(aspect_buckets({512, 1, 256, 1024}), ConfigError);  // 768 of them
}

TEST(AspectBuckets, TheNearestIsThatOfTheLogarithms) {
  const std::vector<ImageSize> sizes = aspect_buckets({});
  RandomStream stream = SeedTree(1).stream("aspect", "", 0);
  for (int round = 0; round < 2000; ++round) {
    const ImageSize image{1 + static_cast<int>(stream.below(5000)), 1 + static_cast<int>(stream.below(5000))};
    const ImageSize chosen = nearest_bucket(sizes, image);
    const auto distance = [&](ImageSize size) {
      return std::abs(std::log(static_cast<double>(image.width) / image.height) -
                      std::log(static_cast<double>(size.width) / size.height));
    };
    for (const ImageSize& size : sizes) {
      ASSERT_LE(distance(chosen), distance(size) + 1e-12) << image.height << " x " << image.width;
    }
  }
}

TEST(AspectBuckets, OfTwoAsNearTheLargerIsTaken) {
  const std::vector<ImageSize> sizes{{64, 64}, {128, 128}, {96, 96}};
  EXPECT_EQ(nearest_bucket(sizes, {500, 500}), (ImageSize{128, 128}));
  EXPECT_EQ(nearest_bucket(std::vector<ImageSize>{{100, 200}, {200, 100}}, {7, 7}), (ImageSize{100, 200}));
  // Sides whose products only fit into 128 bits when two ratios are compared.
  EXPECT_EQ(nearest_bucket(std::vector<ImageSize>{{1, 10'000'000}, {10'000'000, 1}}, {9'999'999, 10'000'000}),
            (ImageSize{1, 10'000'000}));
}

}  // namespace
}  // namespace soup
