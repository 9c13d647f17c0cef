// The scorer learns what there is to learn, is the same after a round through the disk, and refuses broken folders.
#include "experiments/scorer.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/signals.hpp"
#include "experiments/prompts.hpp"
#include "experiments/scorer_batches.hpp"
#include "experiments/scorer_training.hpp"
#include "experiments/square_image.hpp"
#include "tests/experiments/shards.hpp"
#include "tests/support/temporary_folder.hpp"
#include "trainer/pixels.hpp"

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
    return train_scorer(config, shards, SeedTree(3), sha256("key"), log, folder.path() / name);
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
  const std::string caption(shards[0].caption(image));
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
  // Of an oblong the middle square is looked at, whatever lies beside it.
  Image wide = white_image(16, 24);
  paste(images[1], 0, 4, 1, wide);
  const at::Tensor mixed = scorer.score({doubled, wide, images[2]}).embeddings;
  EXPECT_TRUE(at::allclose(mixed[0], scorer.score({doubled}).embeddings[0], 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(mixed[1], together[1], 1e-4, 1e-5));
  EXPECT_TRUE(at::allclose(mixed[2], together[2], 1e-4, 1e-5));
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
  // Drawn with replacement: with style words only the same image again fits too.
  for (std::int64_t i = 0; i < config.batch; ++i) {
    for (std::int64_t j = 0; j < config.batch; ++j) {
      const bool same = i != j && at::equal(styled.images[i], styled.images[j]);
      EXPECT_EQ(styled.also_right[i][j].item<bool>(), same) << i << " " << j;
    }
  }

  // Without shift the first image is one of the training images, its style and context with it.
  std::size_t matches = 0;
  for (const ImagePlace& place : data.places) {
    if (at::equal(pixels_to_tensor({shards[place.shard].pixels(place.image)}, 16, 16, 3)[0], styled.images[0])) {
      ++matches;
      EXPECT_EQ(data.styles[static_cast<std::size_t>(styled.styles[0].item<std::int64_t>())],
                shards[place.shard].style(place.image));
    }
  }
  EXPECT_EQ(matches, 1U);
  // Shifted by up to two pixels, the border is white.
  config.shift_pixels = 2;
  const at::Tensor shifted = ScorerBatches(config, shards, data, tokenizer, SeedTree(1)).make(0).images;
  EXPECT_FALSE(at::equal(shifted, styled.images));
  EXPECT_EQ(shifted.max().item<float>(), 1.0F);
}

TEST_F(ScorerTest, BalanceDecidesHowOftenAStyleIsDrawn) {
  shards.push_back(test::make_shard(folder.path(), "blue", "blue", 600, 16, 30, 30, 250));
  ScorerConfig config = tiny_config();
  config.held_out.fraction = 0.0;
  const ScorerData data = gather_scorer_data(config, shards);
  EXPECT_THAT(data.style_ends, testing::ElementsAre(600U, 660U, 720U));  // blue, green, red
  EXPECT_THAT(style_shares(data, 0.0), testing::ElementsAre(600.0 / 720, 60.0 / 720, 60.0 / 720));
  EXPECT_THAT(style_shares(data, 1.0), testing::Each(testing::DoubleEq(1.0 / 3)));

  const Tokenizer tokenizer = Tokenizer::learn(data.captions, config.vocab_size, config.max_tokens);
  config.batch = 2048;
  config.style_balance = 1.0;
  const ScorerBatch batch = ScorerBatches(config, shards, data, tokenizer, SeedTree(1)).make(0);
  for (std::int64_t style = 0; style < 3; ++style) {
    const double share = batch.styles.eq(style).to(at::kDouble).mean().item<double>();
    EXPECT_NEAR(share, 1.0 / 3, 4.0 * std::sqrt(2.0 / 9 / 2048)) << style;  // four standard errors
  }
}

TEST_F(ScorerTest, GoesOnFromItsCheckpointToTheSameBits) {
  at::set_num_threads(1);  // a forked process has no other threads, and would wait for them for ever
  ScorerConfig config = tiny_config();
  config.images = 640;
  train("whole", config);
  const auto stopped = folder.path() / "stopped";
  // Stopped by a signal: in a process of its own, whose stop flag ends with it.
  const auto stop_at_once = [&] {
    install_stop_signals();
    std::raise(SIGTERM);
    try {
      train("stopped", config);
    } catch (const Interrupted&) {
      std::_Exit(75);
    }
    std::_Exit(0);
  };
  EXPECT_EXIT(stop_at_once(), testing::ExitedWithCode(75), "");
  EXPECT_TRUE(std::filesystem::exists(stopped / "checkpoint-000000000032.safetensors"));
  train("stopped", config);
  EXPECT_EQ(Scorer::load(stopped).digest(), Scorer::load(folder.path() / "whole").digest());
  EXPECT_FALSE(std::filesystem::exists(stopped / "checkpoint-000000000032.safetensors"));
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
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "scorer" / "config.json"));
}

TEST_F(ScorerTest, IsTrainedOnTheMiddleSquaresOfOblongs) {
  shards.push_back(test::make_shard(folder.path(), "blue", "blue", 60, {{16, 16}, {8, 32}, {24, 8}}, 0, 0, 250));
  ScorerConfig config = tiny_config();
  config.images = 64;
  train("scorer", config);
  EXPECT_EQ(Scorer::load(folder.path() / "scorer").architecture().resolution, 16);
  EXPECT_EQ(longest_square(shards), 16);
}

TEST(SquareImage, IsTheMiddleAtTheWantedSize) {
  Image high{5, 2, 3, {}};
  for (int row = 0; row < 5; ++row) {
    high.pixels.insert(high.pixels.end(), 6, static_cast<std::uint8_t>(10 * row));
  }
  EXPECT_EQ(square_image(high, 2).pixels, (std::vector<std::uint8_t>{10, 10, 10, 10, 10, 10, 20, 20, 20, 20, 20, 20}));
  EXPECT_EQ(square_image(high, 1).pixels, (std::vector<std::uint8_t>(3, 15)));
  const Image larger = square_image(high, 4);
  EXPECT_EQ(larger.height, 4);
  EXPECT_EQ(larger.width, 4);
  EXPECT_EQ(square_image(larger, 4).pixels, larger.pixels);
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
