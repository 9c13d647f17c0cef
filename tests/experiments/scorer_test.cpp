// The scorer learns what there is to learn, is the same after a round through the disk, and refuses broken folders.
#include "experiments/scorer.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/prompts.hpp"
#include "experiments/scorer_batches.hpp"
#include "experiments/scorer_training.hpp"
#include "tests/experiments/shards.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

ScorerConfig tiny_config() {
  ScorerConfig config;
  config.channels = {8, 16, 16};
  config.vocab_size = 600;
  config.max_tokens = 12;
  config.text_width = 16;
  config.text_layers = 1;
  config.text_heads = 2;
  config.embedding = 16;
  config.contexts = {"apps", "places"};
  config.images = 6400;
  config.batch = 32;
  config.warmup_images = 320;
  config.learning_rate = 5e-3;
  config.shift_pixels = 0;
  config.held_out = {0.25, 1};
  return config;
}

class ScorerTest : public testing::Test {
 protected:
  void SetUp() override {
    shards.push_back(test::make_shard(folder.path(), "red", "red", 60, 16, 250, 30, 0));
    shards.push_back(test::make_shard(folder.path(), "green", "green", 60, 16, 30, 250, 0));
  }
  ScorerAccuracy train(const std::string& name, const ScorerConfig& config) {
    Log log(1);
    return train_scorer(config, shards, SeedTree(3), log, folder.path() / name);
  }
  test::TemporaryFolder folder;
  std::vector<ShardFile> shards;
};

TEST_F(ScorerTest, LearnsStyleAndContextOfNamesItHasNotSeen) {
  const ScorerAccuracy accuracy = train("scorer", tiny_config());
  EXPECT_GT(accuracy.pairs, 15U);
  // Colour is the style; top or bottom is the context: both are there to be seen, chance would be 0.5.
  EXPECT_GT(accuracy.style_accuracy, 0.95);
  EXPECT_GT(accuracy.context_accuracy, 0.95);

  // Fit of a held-out image with its own style's prompt beats the same prompt in the other style.
  const Scorer scorer = Scorer::load(folder.path() / "scorer");
  const std::uint64_t image = held_out_set(shards[0], {0.25, 1}).front();
  const std::string caption = shards[0].caption(image);
  const at::Tensor seen = scorer.score({shard_image(shards[0], image)}).embeddings;
  const at::Tensor said = scorer.embed_texts({caption + ", red style", caption + ", green style"});
  const at::Tensor fit = seen.matmul(said.t());
  EXPECT_GT(fit[0][0].item<double>(), fit[0][1].item<double>());
  EXPECT_NEAR(seen.norm().item<double>(), 1.0, 1e-5);
  EXPECT_NEAR(said[0].norm().item<double>(), 1.0, 1e-5);

  const nlohmann::json recipe = nlohmann::json::parse(read_file(folder.path() / "scorer" / "recipe.json"));
  EXPECT_EQ(recipe.at("images_seen"), 6400);
  EXPECT_EQ(recipe.at("data").at("red").at("merkle_root"), shards[0].root().hex());
  EXPECT_EQ(recipe.at("model_sha256"), scorer.digest().hex());
  EXPECT_LT(recipe.at("loss").back().at("loss").get<double>(), recipe.at("loss").front().at("loss").get<double>());
}

TEST_F(ScorerTest, FeaturesAreStandardisedOverTrainingImages) {
  ScorerConfig config = tiny_config();
  config.images = 64;
  train("scorer", config);
  std::vector<Image> images;
  for (const ShardFile& shard : shards) {
    for (const std::uint64_t image : training_set(shard, config.held_out, {}).images) {
      images.push_back(shard_image(shard, image));
    }
  }
  const at::Tensor features = Scorer::load(folder.path() / "scorer").score(images).features;
  EXPECT_LT(features.mean(0).abs().max().item<double>(), 1e-3);
  EXPECT_LT((features.std(0, false) - 1.0).abs().max().item<double>(), 1e-2);
}

TEST_F(ScorerTest, IsTheSameFromTheSameSeedAndThroughTheDisk) {
  ScorerConfig config = tiny_config();
  config.images = 128;
  train("one", config);
  train("two", config);
  EXPECT_EQ(Scorer::load(folder.path() / "one").digest(), Scorer::load(folder.path() / "two").digest());

  const Scorer scorer = Scorer::load(folder.path() / "one");
  std::filesystem::create_directories(folder.path() / "copy");
  scorer.save(folder.path() / "copy");
  EXPECT_EQ(Scorer::load(folder.path() / "copy").digest(), scorer.digest());
}

TEST_F(ScorerTest, ScoresDoNotDependOnTheBatchAndOtherSizesAreResized) {
  ScorerConfig config = tiny_config();
  config.images = 64;
  train("scorer", config);
  const Scorer scorer = Scorer::load(folder.path() / "scorer");
  std::vector<Image> images;
  for (std::uint64_t i = 0; i < 5; ++i) {
    images.push_back(shard_image(shards[0], i));
  }
  const at::Tensor together = scorer.score(images).embeddings;
  EXPECT_TRUE(at::allclose(scorer.score({images[3]}).embeddings[0], together[3], 1e-4, 1e-5));

  Image doubled{32, 32, 3, {}};
  for (int y = 0; y < 32; ++y) {
    for (int x = 0; x < 32; ++x) {
      const auto* pixel = images[0].pixels.data() + ((y / 2) * 16 + x / 2) * 3;
      doubled.pixels.insert(doubled.pixels.end(), pixel, pixel + 3);
    }
  }
  EXPECT_GT(scorer.score({doubled}).embeddings[0].dot(together[0]).item<double>(), 0.9);
  EXPECT_EQ(scorer.score({}).embeddings.size(0), 0);
  EXPECT_THROW(static_cast<void>(scorer.score({images[0], doubled})), DataError);
  EXPECT_THROW(static_cast<void>(scorer.score({Image{4, 4, 1, std::vector<std::uint8_t>(16)}})), DataError);
}

TEST_F(ScorerTest, BatchesKnowWhichOtherCaptionsFit) {
  ScorerConfig config = tiny_config();
  config.batch = 64;
  const ScorerData data = gather_scorer_data(config, shards);
  for (const ImagePlace& place : data.places) {
    EXPECT_FALSE(config.held_out.contains(shards[place.shard].key(place.image)));
  }
  EXPECT_THAT(data.styles, testing::ElementsAre("green", "red"));
  const Tokenizer tokenizer = Tokenizer::learn(data.captions, config.vocab_size, config.max_tokens);
  config.style_dropout = 1.0;  // plain captions: the same name in the other style fits too
  const ScorerBatch plain = ScorerBatches(config, shards, data, tokenizer, SeedTree(1)).make(0);
  EXPECT_GT(plain.also_right.sum().item<int>(), 0);
  EXPECT_FALSE(plain.also_right.diagonal().any().item<bool>());
  config.style_dropout = 0.0;
  const ScorerBatch styled = ScorerBatches(config, shards, data, tokenizer, SeedTree(1)).make(0);
  EXPECT_EQ(styled.also_right.sum().item<int>(), 0);  // every image once an epoch, every caption its own

  // Without shift the first image is the first of the order: top left corner, red, green, blue.
  const ImagePlace& first = data.places[SampleOrder(SeedTree(1), "scorer", data.places.size()).at(0)];
  const auto pixels = shards[first.shard].pixels(first.image);
  for (std::int64_t channel = 0; channel < 3; ++channel) {
    EXPECT_EQ(styled.images[0][channel][0][0].item<float>(),
              static_cast<float>(pixels[static_cast<std::size_t>(channel)]) / 127.5F - 1.0F);
  }
  // Shifted by up to two pixels, the border is white.
  config.shift_pixels = 2;
  const at::Tensor shifted = ScorerBatches(config, shards, data, tokenizer, SeedTree(1)).make(0).images;
  EXPECT_FALSE(at::equal(shifted, styled.images));
  EXPECT_EQ(shifted.max().item<float>(), 1.0F);
}

TEST_F(ScorerTest, RefusesWhatItCannotTrainOn) {
  ScorerConfig config = tiny_config();
  config.batch = 1000;
  EXPECT_THROW(train("scorer", config), DataError);
  config = tiny_config();
  config.channels = {8, 12};
  EXPECT_THROW(train("scorer", config), DataError);
  config = tiny_config();
  config.images = 32;
  config.held_out.fraction = 0.0;
  EXPECT_THROW(train("scorer", config), DataError);  // nothing to test it on
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "scorer"));
  shards.push_back(test::make_shard(folder.path(), "small", "small", 10, 8, 0, 0, 0));
  EXPECT_THROW(train("scorer", tiny_config()), DataError);
}

TEST_F(ScorerTest, RefusesBrokenFolders) {
  ScorerConfig config = tiny_config();
  config.images = 32;
  train("scorer", config);
  const auto path = folder.path() / "scorer";
  EXPECT_THROW(Scorer::load(folder.path() / "absent"), DataError);

  const std::string good = read_file(path / "config.json");
  nlohmann::json json = nlohmann::json::parse(good);
  for (const std::string key : {"version", "channels", "text", "styles"}) {
    nlohmann::json broken = json;
    broken.erase(key);
    write_file_atomically(path / "config.json", broken.dump());
    EXPECT_THROW(Scorer::load(path), DataError) << key;
  }
  json["embedding"] = 8;  // another shape than the weights
  write_file_atomically(path / "config.json", json.dump());
  EXPECT_THROW(Scorer::load(path), DataError);
  write_file_atomically(path / "config.json", "{");
  EXPECT_THROW(Scorer::load(path), DataError);
  write_file_atomically(path / "config.json", good);
  EXPECT_NO_THROW(Scorer::load(path));
  std::filesystem::resize_file(path / "model.safetensors", 1000);
  EXPECT_THROW(Scorer::load(path), DataError);
}

}  // namespace
}  // namespace soup
