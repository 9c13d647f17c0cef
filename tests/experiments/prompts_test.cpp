// Prompts come from held-out images only, spread evenly, the same for the same seed.
#include "experiments/prompts.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/error.hpp"
#include "tests/experiments/shards.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

class Prompts : public testing::Test {
 protected:
  void SetUp() override {
    shards.push_back(test::make_shard(folder.path(), "a", "red", 120, 8, 255, 0, 0));
    shards.push_back(test::make_shard(folder.path(), "b", "green", 120, 8, 0, 255, 0));
    shards.push_back(test::make_shard(folder.path(), "c", "", 120, 8, 0, 0, 255));
  }
  test::TemporaryFolder folder;
  std::vector<ShardFile> shards;
  HeldOut held_out{0.3, 1};
};

TEST_F(Prompts, AreHeldOutDistinctAndEven) {
  const std::vector<Prompt> prompts = select_prompts(shards, held_out, 24, SeedTree(1));
  ASSERT_EQ(prompts.size(), 24U);
  std::set<std::string> texts;
  std::set<ImagePlace> origins;
  std::map<std::size_t, int> per_shard;
  std::map<std::pair<std::size_t, std::string>, int> per_context;
  std::map<std::pair<std::size_t, bool>, int> per_kind;
  for (const Prompt& prompt : prompts) {
    const ShardFile& shard = shards[prompt.origin.shard];
    EXPECT_TRUE(held_out.contains(shard.key(prompt.origin.image)));
    EXPECT_EQ(prompt.caption, shard.caption(prompt.origin.image));
    texts.insert(prompt.text);
    origins.insert(prompt.origin);
    ++per_shard[prompt.origin.shard];
    ++per_context[{prompt.origin.shard, prompt.context}];
    ++per_kind[{prompt.origin.shard, prompt.with_style}];
  }
  EXPECT_EQ(texts.size(), 24U);
  EXPECT_EQ(origins.size(), 24U);
  EXPECT_THAT(per_shard, testing::ElementsAre(testing::Pair(0, 8), testing::Pair(1, 8), testing::Pair(2, 8)));
  for (const auto& [place, count] : per_context) {
    // A caption that another shard already gave without style is passed over, so contexts may be off by a few.
    EXPECT_NEAR(count, 4, 2) << place.second;
  }
  EXPECT_EQ((per_kind[{0, true}]), 4);
  EXPECT_EQ((per_kind[{1, true}]), 4);
  EXPECT_EQ((per_kind[{2, true}]), 0);  // a shard without style words
}

TEST_F(Prompts, NameTheStyleExactlyWhereTheySay) {
  for (const Prompt& prompt : select_prompts(shards, held_out, 24, SeedTree(1))) {
    EXPECT_EQ(prompt.text, prompt.with_style ? prompt.caption + ", " + prompt.style + " style" : prompt.caption);
  }
}

TEST_F(Prompts, DependOnTheSeedAlone) {
  const auto texts = [&](std::uint64_t seed) {
    std::vector<std::string> result;
    for (const Prompt& prompt : select_prompts(shards, held_out, 12, SeedTree(seed))) {
      result.push_back(prompt.text);
    }
    return result;
  };
  EXPECT_EQ(texts(1), texts(1));
  EXPECT_NE(texts(1), texts(2));
}

TEST_F(Prompts, EndWhereTheHeldOutImagesEnd) {
  std::size_t available = 0;
  for (const ShardFile& shard : shards) {
    available += held_out_set(shard, held_out).size();
  }
  const std::vector<Prompt> prompts = select_prompts(shards, held_out, 100000, SeedTree(1));
  EXPECT_LE(prompts.size(), available);
  EXPECT_GT(prompts.size(), 24U);
}

TEST_F(Prompts, WithoutHeldOutImagesAreAnError) {
  EXPECT_THROW(static_cast<void>(select_prompts(shards, HeldOut{0.0, 1}, 4, SeedTree(1))), DataError);
}

TEST_F(Prompts, AndReferenceShareNoImage) {
  const std::vector<Prompt> prompts = select_prompts(shards, held_out, 24, SeedTree(1));
  const std::vector<ImagePlace> reference = reference_images(shards, held_out, prompts, SeedTree(1));
  const std::set<ImagePlace> both(reference.begin(), reference.end());
  EXPECT_EQ(both.size(), reference.size());
  for (const Prompt& prompt : prompts) {
    EXPECT_FALSE(both.contains(prompt.origin));
  }
  for (const auto& [shard, image] : reference) {
    EXPECT_TRUE(held_out.contains(shards[shard].key(image)));
  }
}

TEST_F(Prompts, ReferenceIsEvenHoweverLargeAShardIs) {
  shards.push_back(test::make_shard(folder.path(), "d", "large", 500, 8, 9, 9, 9));
  const std::vector<Prompt> prompts = select_prompts(shards, held_out, 8, SeedTree(1));
  std::map<std::size_t, std::size_t> per_shard;
  for (const auto& [shard, image] : reference_images(shards, held_out, prompts, SeedTree(1))) {
    ++per_shard[shard];
  }
  // The small shards have the same names and so the same number held out; two of each are prompts.
  const std::size_t held = held_out_set(shards[0], held_out).size() - 2;
  ASSERT_GT(held, least_per_shard);
  EXPECT_THAT(per_shard, testing::ElementsAre(testing::Pair(0, held), testing::Pair(1, held), testing::Pair(2, held),
                                              testing::Pair(3, held)));
}

TEST_F(Prompts, ATinyShardDoesNotShrinkTheReference) {
  shards.push_back(test::make_shard(folder.path(), "d", "tiny", 10, 8, 9, 9, 9));
  std::map<std::size_t, std::size_t> per_shard;
  for (const auto& [shard, image] : reference_images(shards, held_out, {}, SeedTree(1))) {
    ++per_shard[shard];
  }
  const std::size_t tiny = held_out_set(shards[3], held_out).size();
  ASSERT_LT(tiny, least_per_shard);
  EXPECT_EQ(per_shard[0], least_per_shard);
  EXPECT_EQ(per_shard[3], tiny);
}

TEST_F(Prompts, DenoisingImagesAreHeldOutAndEven) {
  const std::vector<ImagePlace> images = denoising_images(shards, held_out, 30, SeedTree(1));
  ASSERT_EQ(images.size(), 30U);
  std::map<std::size_t, int> per_shard;
  for (const auto& [shard, image] : images) {
    EXPECT_TRUE(held_out.contains(shards[shard].key(image)));
    ++per_shard[shard];
  }
  EXPECT_THAT(per_shard, testing::ElementsAre(testing::Pair(0, 10), testing::Pair(1, 10), testing::Pair(2, 10)));
  EXPECT_TRUE(denoising_images(shards, held_out, 0, SeedTree(1)).empty());
}

TEST(CaptionContext, IsTheFirstWord) {
  EXPECT_EQ(caption_context("devices printer network"), "devices");
  EXPECT_EQ(caption_context("devices"), "devices");
  EXPECT_EQ(caption_context(""), "");
}

}  // namespace
}  // namespace soup
