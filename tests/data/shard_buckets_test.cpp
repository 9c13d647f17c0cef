// Shards of images of several sizes: one index space, by size, as HDF5 and our reader see it.
#include <gtest/gtest.h>

#include "data/duplicates.hpp"
#include "data/hdf5_handle.hpp"
#include "tests/data/samples.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

class ShardBuckets : public testing::Test {
 protected:
  // Images 0, 1, 2, ... take the sizes in turn; image i has the caption "image i".
  void write(const std::vector<std::pair<int, int>>& sizes, std::uint64_t images) {
    ShardWriter writer(path_, test::origin, sha256("source"));
    for (std::uint64_t i = 0; i < images; ++i) {
      const auto [height, width] = sizes[i % sizes.size()];
      const std::string n = std::to_string(i);
      writer.append(test::sample(test::noise_image(height, width, 3, i), "image " + n, n));
    }
    writer.finish();
  }
  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "north.h5";
};

TEST_F(ShardBuckets, ImagesAreGroupedBySize) {
  write({{8, 4}, {4, 8}, {6, 6}}, 8);
  EXPECT_EQ(test::count_entries(folder_.path()), 1U);
  const ShardFile file(path_);
  ASSERT_EQ(file.size(), 8U);
  EXPECT_FALSE(file.one_size());
  const std::vector<Bucket> expected{{4, 8, 0, 3}, {6, 6, 3, 2}, {8, 4, 5, 3}};
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), file.buckets().begin(), file.buckets().end()));
  const std::vector<std::uint64_t> order{1, 4, 7, 2, 5, 0, 3, 6};  // in which the images were appended
  std::vector<Digest> digests;
  for (std::size_t i = 0; i < order.size(); ++i) {
    EXPECT_EQ(file.caption(i), "image " + std::to_string(order[i]));
    const Image image = test::noise_image(file.height(i), file.width(i), 3, order[i]);
    EXPECT_TRUE(std::equal(image.pixels.begin(), image.pixels.end(), file.pixels(i).begin(), file.pixels(i).end()));
    EXPECT_EQ(file.perceptual_hash(i), difference_hash(image));
    digests.push_back(file.digest(i));
  }
  EXPECT_EQ(file.root(), merkle_root(digests));
  EXPECT_NO_THROW(file.verify());
  EXPECT_THROW(static_cast<void>(file.height()), InvariantError);
}

TEST_F(ShardBuckets, OneSizeIsAPlainDataset) {
  write({{6, 5}}, 4);
  const ShardFile file(path_);
  EXPECT_EQ(file.height(), 6);
  Hdf5File raw(H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  EXPECT_GT(H5Lexists(raw.get(), "images", H5P_DEFAULT), 0);
  EXPECT_EQ(H5Lexists(raw.get(), "buckets", H5P_DEFAULT), 0);
  // The same images through the writer of one size: the same file.
  const std::string bytes = test::read_bytes(path_);
  ShardWriter writer(path_, test::origin, 6, 5, 3);
  for (std::uint64_t i = 0; i < 4; ++i) {
    writer.append(test::sample(test::noise_image(6, 5, 3, i), "image " + std::to_string(i), std::to_string(i)));
  }
  writer.finish();
  EXPECT_EQ(test::read_bytes(path_), bytes);
}

TEST_F(ShardBuckets, ManyBucketsHaveALongSeal) {
  std::vector<std::pair<int, int>> sizes;
  for (int i = 1; i <= 60; ++i) {
    sizes.emplace_back(i, 61 - i);
  }
  write(sizes, 120);
  const ShardFile file(path_);
  EXPECT_EQ(file.buckets().size(), 60U);
  EXPECT_EQ(file.height(119), 60);
  EXPECT_GT(check_seal(path_).seal_bytes, 2048U);
  EXPECT_NO_THROW(file.verify());
  std::string bytes = test::read_bytes(path_);
  bytes[check_seal(path_).blocks[7].offset] ^= 1;
  test::write_text(path_, bytes);
  EXPECT_THAT(test::data_error([&] { ShardFile(path_).verify(); }), HasSubstr("image 14"));
}

TEST_F(ShardBuckets, DuplicatesAreFoundWhereSizesAgree) {
  write({{8, 4}, {4, 8}}, 6);
  const ShardFile several(path_);
  const auto other_path = folder_ / "south.h5";
  ShardWriter writer(other_path, test::origin, 4, 8, 3);
  writer.append(test::sample(test::noise_image(4, 8, 3, 3), "image 3", "3"));
  writer.append(test::sample(test::noise_image(4, 8, 3, 77), "new", "new"));
  writer.finish();
  const ShardFile other(other_path);
  const auto pairs = images_also_in(other, several, std::nullopt);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(several.caption(pairs[0].first_image), "image 3");
}

}  // namespace
}  // namespace soup
