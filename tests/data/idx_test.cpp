// Importing IDX files.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <array>

#include "core/log.hpp"
#include "data/import.hpp"
#include "tests/data/samples.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

std::string u32(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

class Idx : public testing::Test {
 protected:
  // Image i has all pixels 10 * i + 1, label i % 3.
  Idx() {
    images_ = u32(0x803) + u32(6) + u32(4) + u32(4);
    labels_ = u32(0x801) + u32(6);
    for (int i = 0; i < 6; ++i) {
      images_ += std::string(16, static_cast<char>(10 * i + 1));
      labels_ += static_cast<char>(i % 3);
    }
    source_.images = folder_.path() / "images-idx3-ubyte";
    source_.labels = folder_.path() / "labels-idx1-ubyte";
    source_.class_names = {"shirt", "coat", "ankle boot"};
    source_.style = "photo";
    source_.licence = "MIT";
    options_.shard = "clothes";
    options_.resolution = 4;
  }
  ImportReport import() {
    test::write_text(source_.images, images_);
    test::write_text(source_.labels, labels_);
    return import_idx(source_, options_, out_, log_);
  }
  std::string import_error() {
    return test::data_error([&] { import(); });
  }
  test::TemporaryFolder folder_;
  std::filesystem::path out_ = folder_.path() / "out.h5";
  std::string images_;
  std::string labels_;
  IdxSource source_;
  ImportOptions options_;
  Log log_{1};  // silent
};

TEST_F(Idx, ImagesAndCaptions) {
  const ImportReport report = import();
  EXPECT_EQ(report.files, 6U);
  EXPECT_EQ(report.kept, 6U);
  const ShardFile file(out_);
  ASSERT_EQ(file.size(), 6U);
  EXPECT_EQ(file.channels(), 3);
  EXPECT_EQ(file.caption(5), "ankle boot");
  EXPECT_EQ(file.key(5), "ankle boot");
  EXPECT_EQ(file.style(5), "photo");
  EXPECT_EQ(file.source(5), "images-idx3-ubyte#5");
  EXPECT_EQ(file.origin().licence, "MIT");
  EXPECT_TRUE(std::all_of(file.pixels(5).begin(), file.pixels(5).end(), [](int pixel) { return pixel == 51; }));
}

TEST_F(Idx, GzipIsReadAlike) {
  import();
  const std::string plain = test::read_bytes(out_);
  const auto packed = folder_.path() / "zip" / "images-idx3-ubyte";
  std::filesystem::create_directory(packed.parent_path());
  gzFile file = gzopen(packed.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, images_.data(), static_cast<unsigned>(images_.size())), static_cast<int>(images_.size()));
  gzclose(file);
  source_.images = packed;
  import_idx(source_, options_, out_, log_);
  EXPECT_EQ(test::read_bytes(out_), plain);
  // A torn archive is an error, not a short shard.
  std::filesystem::resize_file(packed, std::filesystem::file_size(packed) - 9);
  EXPECT_THROW(import_idx(source_, options_, out_, log_), DataError);
}

TEST_F(Idx, LargerSquaresGetABlackMargin) {
  options_.resolution = 6;
  import();
  const ShardFile file(out_);
  const auto pixels = file.pixels(2);  // value 21
  for (std::size_t y = 0; y < 6; ++y) {
    for (std::size_t x = 0; x < 6; ++x) {
      const bool inside = y >= 1 && y < 5 && x >= 1 && x < 5;
      EXPECT_EQ(pixels[(y * 6 + x) * 3], inside ? 21 : 0) << y << " " << x;
    }
  }
}

TEST_F(Idx, SmallerSquaresAreAreaMeans) {
  // One image: columns 0, 90, 180, 30 in every row.
  images_ = u32(0x803) + u32(1) + u32(4) + u32(4);
  for (int row = 0; row < 4; ++row) {
    images_ += std::string{'\0', 90, static_cast<char>(180), 30};
  }
  labels_ = u32(0x801) + u32(1) + std::string(1, '\0');
  options_.resolution = 2;
  import();
  {
    const ShardFile file(out_);
    EXPECT_EQ(file.pixels(0)[0], 45);   // (0 + 90) / 2
    EXPECT_EQ(file.pixels(0)[3], 105);  // (180 + 30) / 2
  }
  options_.resolution = 3;
  import();
  const ShardFile file(out_);
  // Each new pixel covers 4/3 old ones: (0 + 90/3) * 3/4, (90 * 2/3 + 180 * 2/3) * 3/4, (180/3 + 30) * 3/4, rounded.
  EXPECT_EQ(file.pixels(0)[0], 23);
  EXPECT_EQ(file.pixels(0)[3], 135);
  EXPECT_EQ(file.pixels(0)[6], 68);
}

TEST_F(Idx, WideImagesSitInTheMiddleWhenReduced) {
  images_ = u32(0x803) + u32(1) + u32(2) + u32(4) + std::string(8, 100);
  labels_ = u32(0x801) + u32(1) + std::string(1, '\0');
  options_.resolution = 2;
  import();
  const ShardFile file(out_);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(file.pixels(0)[3 * i], 50);  // half image, half black
  }
}

TEST_F(Idx, ClassesAndLimits) {
  source_.classes = {1};
  EXPECT_EQ(import().kept, 2U);
  EXPECT_EQ(ShardFile(out_).caption(0), "coat");
  EXPECT_EQ(ShardFile(out_).caption(1), "coat");
  source_.classes = {};
  source_.limit = 4;
  EXPECT_EQ(import().kept, 4U);
  source_.limit = 100;
  EXPECT_EQ(import().kept, 6U);
  source_.classes = {7};
  EXPECT_THAT(import_error(), HasSubstr("no images"));
}

TEST_F(Idx, BrokenFilesAreDataErrors) {
  const std::string good_images = images_;
  const std::string good_labels = labels_;
  const auto with = [&](const std::string& images, const std::string& labels) {
    images_ = images;
    labels_ = labels;
    return import_error();
  };
  EXPECT_THAT(with("", good_labels), HasSubstr("ends early"));
  EXPECT_THAT(with(good_images.substr(0, good_images.size() - 1), good_labels), HasSubstr("ends early"));
  EXPECT_THAT(with(good_images + "x", good_labels), HasSubstr("goes on"));
  EXPECT_THAT(with(good_images, good_labels.substr(0, 9)), HasSubstr("ends early"));
  EXPECT_THAT(with(good_labels, good_images), HasSubstr("2049"));
  EXPECT_THAT(with(good_images, u32(0x801) + u32(5) + std::string(5, '\0')),
              testing::AllOf(HasSubstr("6 images"), HasSubstr("5 labels")));
  EXPECT_THAT(with(good_images, u32(0x801) + u32(6) + std::string(6, '\3')), HasSubstr("label 0 is 3"));
  EXPECT_THAT(with(u32(0x803) + u32(6) + u32(0) + u32(4), good_labels), HasSubstr("0 x 4"));
  EXPECT_THAT(with(u32(0x803) + u32(6) + u32(1 << 30) + u32(4), good_labels), HasSubstr("1073741824"));
  EXPECT_THAT(with(good_images, u32(0x801) + u32(0xffffffff)), HasSubstr("4294967295"));
  EXPECT_FALSE(std::filesystem::exists(out_));
  source_.images = folder_.path() / "missing";
  source_.package = "dataset-fashion-mnist";
  EXPECT_THAT(test::data_error([&] { import_idx(source_, options_, out_, log_); }),
              testing::AllOf(HasSubstr("dataset-fashion-mnist"), HasSubstr("launch/setup.sh")));
}

}  // namespace
}  // namespace soup
