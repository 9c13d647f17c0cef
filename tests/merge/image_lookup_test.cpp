// The same images in the shards of remaining ingredients, exact and near, where their files are at hand.
#include "merge/image_lookup.hpp"

#include <gmock/gmock.h>

#include <algorithm>

#include "core/error.hpp"
#include "merge/edit.hpp"
#include "merge/strict_json.hpp"
#include "tests/data/samples.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Image noise(std::uint64_t seed, int size = 16) {
  return test::noise_image(size, size, 3, seed);
}

// Every pixel brighter by 2 where it fits: another image with the same difference hash, at a distance of 2.
Image dim(std::uint64_t seed) {
  Image image = noise(seed);
  for (std::uint8_t& pixel : image.pixels) {
    pixel = static_cast<std::uint8_t>(pixel / 2);
  }
  return image;
}
Image brighter(Image image) {
  for (std::uint8_t& pixel : image.pixels) {
    pixel = static_cast<std::uint8_t>(pixel + 2);
  }
  return image;
}

// Three ingredients with their shard files. Of the four images of b: 0 is in a (exact), 1 in c (near), 2 in both (exact
// in a, near in c), 3 in none.
class ImageLookupTest : public testing::Test {
 protected:
  ImageLookupTest() {
    for (const char* name : {"a", "b", "c"}) {
      inputs_.push_back(test::make_ingredient(root_, name));
    }
    write("data/b.h5", "b", {noise(1), dim(2), dim(3), noise(4)});
    write("data/a.h5", "a", {noise(10), dim(3), noise(1)});
    write("data/c.h5", "c", {brighter(dim(2)), brighter(dim(3))});
    merge(inputs_, root_ / "soup");
  }
  void write(const std::string& file, const std::string& name, const std::vector<Image>& images) {
    fs::create_directories((root_ / file).parent_path());
    ShardOrigin origin = test::origin;
    origin.name = name;
    ShardWriter writer(root_ / file, origin, images[0].height, images[0].width, 3);
    for (std::size_t i = 0; i < images.size(); ++i) {
      writer.append(test::sample(images[i], "apps " + name, name + std::to_string(i)));
    }
    writer.finish();
  }
  NotCovered removed(const RemovalOptions& options = {}) {
    const Certificate certificate = remove_ingredient(root_ / "soup", "b", root_ / "without", options).certificate;
    fs::remove_all(root_ / "without");
    EXPECT_EQ(to_json(certificate_from_json(to_json(certificate), "x")), to_json(certificate));
    return *std::ranges::find(certificate.not_covered, std::string("same_images"), &NotCovered::kind);
  }
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();
  std::vector<MergeInput> inputs_;
};

TEST_F(ImageLookupTest, CountsExactAndNear) {
  const NotCovered finding = removed();
  ASSERT_TRUE(finding.lookup.has_value()) << finding.text;
  const ImageLookup& lookup = *finding.lookup;
  const ShardFile b(root_ / "data/b.h5");
  EXPECT_EQ(lookup.roots, std::vector<Digest>{b.root()});
  EXPECT_EQ(lookup.images, 4);
  EXPECT_EQ(lookup.exact, 2) << "0 and 2";
  EXPECT_EQ(lookup.near, 1) << "1; 2 counts as exact";
  ASSERT_EQ(lookup.shards.size(), 2U);
  EXPECT_EQ(lookup.shards[0].ingredient, "a");
  EXPECT_EQ(lookup.shards[0].exact, 2);
  EXPECT_EQ(lookup.shards[0].near, 0);
  EXPECT_EQ(lookup.shards[0].images, 3);
  EXPECT_EQ(lookup.shards[1].exact, 0);
  EXPECT_EQ(lookup.shards[1].near, 2);
  EXPECT_TRUE(lookup.not_looked_up.empty());
  ASSERT_EQ(lookup.examples.size(), 4U);
  EXPECT_EQ(lookup.examples[0].image, 0);
  EXPECT_EQ(lookup.examples[0].other_image, 2);
  EXPECT_EQ(lookup.examples[0].ingredient, "a");
  EXPECT_EQ(lookup.examples[0].digest, b.digest(0));
  EXPECT_TRUE(lookup.examples[1].exact);
  EXPECT_FALSE(lookup.examples[2].exact);
  EXPECT_THAT(finding.text, HasSubstr("2 of the 4 images"));
}

TEST_F(ImageLookupTest, NearOnRequestOnly) {
  RemovalOptions options;
  options.near = false;
  const NotCovered finding = removed(options);
  EXPECT_EQ(finding.lookup->exact, 2);
  EXPECT_FALSE(finding.lookup->near.has_value());
  EXPECT_FALSE(finding.lookup->shards[1].near.has_value());
  EXPECT_THAT(finding.text, HasSubstr("near-duplicates were not looked for"));
}

TEST_F(ImageLookupTest, WhatIsMissingOrUnlikeIsNotLookedUp) {
  fs::remove(root_ / "data/a.h5");
  write("data/c.h5", "c", {noise(1, 8)});
  const NotCovered finding = removed();
  ASSERT_EQ(finding.lookup->not_looked_up.size(), 2U);
  EXPECT_THAT(finding.lookup->not_looked_up[0].reason, HasSubstr("data/a.h5"));
  EXPECT_THAT(finding.lookup->not_looked_up[1].reason, HasSubstr("8 x 8"));
  EXPECT_TRUE(finding.lookup->shards.empty());
  EXPECT_EQ(finding.lookup->exact, 0);
  EXPECT_THAT(finding.text, HasSubstr("Not looked up: a, c."));

  test::write_text(root_ / "data/b.h5", "no shard file");
  EXPECT_THAT(removed().text, HasSubstr("was not looked up"));
  EXPECT_FALSE(removed().lookup.has_value());
}

TEST_F(ImageLookupTest, FilesGivenByName) {
  fs::rename(root_ / "data", root_ / "moved");
  EXPECT_FALSE(removed().lookup.has_value());
  RemovalOptions options;
  options.data = {root_ / "moved/c.h5", root_ / "moved/b.h5"};
  const NotCovered finding = removed(options);
  EXPECT_EQ(finding.lookup->exact, 0);
  EXPECT_EQ(finding.lookup->near, 2);
  EXPECT_EQ(finding.lookup->not_looked_up.size(), 1U);
  write("moved/x.h5", "stranger", {noise(1)});
  options.data = {root_ / "moved/x.h5"};
  try {
    removed(options);
    ADD_FAILURE() << "a file of no ingredient";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("named stranger"), HasSubstr("a, b, c")));
  }
  options.data = {root_ / "moved/none.h5"};
  EXPECT_THROW(removed(options), DataError);
  EXPECT_FALSE(fs::exists(root_ / "without"));
}

TEST_F(ImageLookupTest, TheRunFolderIsTheNearestThatHasAllShards) {
  const IngredientRecord record = read_ingredient_record(inputs_[1].path);
  EXPECT_EQ(find_run_folder(inputs_[1].path, record), root_);
  IngredientRecord other = record;
  other.shards.emplace_back("data/none.h5");
  EXPECT_FALSE(find_run_folder(inputs_[1].path, other).has_value());
  other.shards = {"../" + root_.filename().string() + "/data/b.h5"};
  EXPECT_FALSE(find_run_folder(inputs_[1].path, other).has_value()) << "not below the run folder";
  other.shards = {(root_ / "data/b.h5").string()};
  EXPECT_FALSE(find_run_folder(inputs_[1].path, other).has_value());
}

}  // namespace
}  // namespace soup
