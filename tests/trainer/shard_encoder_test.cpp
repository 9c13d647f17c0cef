// Latents and text states kept in a shard: what a training reads is what it would compute, whole or after a stop.
#include "trainer/shard_encoder.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <csignal>
#include <cstring>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/signals.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/batch.hpp"
#include "trainer/trainer.hpp"

namespace soup::test {
namespace {

using testing::HasSubstr;

class ShardEncoderTest : public testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    write_tiny_shard(plain_, "squares", 40);
  }
  std::string bytes(const std::filesystem::path& path) const { return read_file(path); }

  TemporaryFolder folder_;
  std::filesystem::path plain_ = folder_ / "plain.h5";
  std::filesystem::path encoded_ = folder_ / "encoded.h5";
  Log log_{1};
};

TEST_F(ShardEncoderTest, HoldsWhatTheEncodersCompute) {
  const DiffusionModel model = tiny_model_with_vae();
  const EncodeReport report = encode_shard(plain_, model, {.type = FloatType::f32, .batch = 7}, encoded_, log_);
  EXPECT_EQ(report.images, 40U);
  EXPECT_EQ(report.texts, 7U) << "nothing, and three colours with and without style";
  EXPECT_EQ(report.truncated, 3U) << "with style they are more than the eight tokens";
  EXPECT_FALSE(std::filesystem::exists(encoded_.string() + ".encoding"));
  const ShardFile shard(encoded_);
  shard.verify();
  EXPECT_EQ(shard.root(), ShardFile(plain_).root());
  ASSERT_TRUE(shard.moments_format() && shard.text_states_format());
  EXPECT_EQ(shard.moments_format()->encoder, autoencoder_digest(model));
  EXPECT_EQ(shard.text_states_format()->encoder, text_encoder_digest(model, 1));

  const at::NoGradGuard no_grad;
  const auto images = tiny_images(encoded_);
  const TrainConfig config = tiny_training();
  BatchMaker online(images, config, SeedTree(7), "squares", model);
  BatchMaker cached(images, config, SeedTree(7), "squares", model, {.moments = true, .text_states = true});
  const Batch computed = online.make(16, 16);
  const Batch read = cached.make(16, 16);
  EXPECT_FALSE(read.images.defined());
  EXPECT_TRUE(at::allclose(read.moments, model.autoencoder->encode(computed.images), 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(read.text_states, model.encode_text(computed.captions), 1e-5, 1e-6));
  EXPECT_TRUE(at::equal(read.noise.added, computed.noise.added));
  EXPECT_TRUE(at::equal(read.latent_noise, computed.latent_noise));
}

TEST_F(ShardEncoderTest, TrainingsReadThemWhereTheEncodersAreTheirs) {
  encode_shard(plain_, tiny_model_with_vae(), {.type = FloatType::f32}, encoded_, log_);
  const auto last_loss = [&](const std::filesystem::path& shard, const std::string& name, std::uint64_t seed,
                             const std::function<void(TrainConfig&)>& change) {
    DiffusionModel model = tiny_model_with_vae(seed);
    TrainConfig config = tiny_training();
    config.images = 64;
    config.train_text_encoder = false;
    change(config);
    const auto self = make_self_communicator();
    Trainer trainer(model, tiny_images(shard), {}, tiny_job(folder_.path(), name, config), *self, log_);
    trainer.run();
    return trainer.clock().curve.back().loss;
  };
  const auto nothing = [](TrainConfig&) {};
  EXPECT_NEAR(last_loss(encoded_, "cached", 1, nothing), last_loss(plain_, "online", 1, nothing), 1e-5);
  // Another autoencoder, another layer of the text encoder, or one that learns: computed anew.
  EXPECT_EQ(last_loss(encoded_, "other", 2, nothing), last_loss(plain_, "other_online", 2, nothing));
  const auto learns = [](TrainConfig& config) { config.train_text_encoder = true; };
  EXPECT_NEAR(last_loss(encoded_, "learns", 1, learns), last_loss(plain_, "learns_online", 1, learns), 1e-5);
  EXPECT_THROW(last_loss(encoded_, "skips", 1, [](TrainConfig& config) { config.clip_skip = 2; }), ConfigError)
      << "the tiny text encoder has one layer";
}

TEST_F(ShardEncoderTest, StoppedAndResumedItHasTheBytesOfOneThatWasNot) {
  install_stop_signals();
  const DiffusionModel model = tiny_model_with_vae();
  EXPECT_EXIT(
      {
        std::raise(SIGUSR1);
        try {
          encode_shard(plain_, model, {.batch = 3}, folder_ / "stopped.h5", log_);
        } catch (const Interrupted& error) {
          std::_Exit(static_cast<int>(error.exit_code()));
        }
        std::_Exit(2);
      },
      testing::ExitedWithCode(75), "");
  const std::filesystem::path working = (folder_ / "stopped.h5").string() + ".encoding";
  ASSERT_TRUE(std::filesystem::exists(working / "state.json"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "stopped.h5"));
  // A kill after the last save leaves more behind than the state file says.
  write_file_atomically(working / "text_states", bytes(working / "text_states") + "half a row");
  encode_shard(plain_, model, {.batch = 3}, folder_ / "stopped.h5", log_);
  encode_shard(plain_, model, {.batch = 3}, encoded_, log_);
  EXPECT_EQ(bytes(folder_ / "stopped.h5"), bytes(encoded_));
}

TEST_F(ShardEncoderTest, WhatAnotherModelBeganIsNotUsed) {
  const std::filesystem::path working = encoded_.string() + ".encoding";
  std::filesystem::create_directories(working);
  write_file_atomically(working / "state.json", R"({"settings": "of another", "images": 30, "texts": 7})");
  encode_shard(plain_, tiny_model_with_vae(), {}, encoded_, log_);
  ShardFile(encoded_).verify();
  // Numbers that are none begin anew; rows that are missing are said.
  std::filesystem::create_directories(working);
  write_file_atomically(working / "state.json", R"({"settings": 5, "images": "many"})");
  encode_shard(plain_, tiny_model_with_vae(), {}, encoded_, log_);
}

TEST_F(ShardEncoderTest, InPlaceAndAgain) {
  encode_shard(plain_, tiny_model_with_vae(), {}, encoded_, log_);
  EXPECT_FALSE(encode_shard(plain_, tiny_model_with_vae(), {}, plain_, log_).replaced);
  EXPECT_EQ(bytes(plain_), bytes(encoded_));
  EXPECT_FALSE(encode_shard(plain_, tiny_model_with_vae(), {}, plain_, log_).replaced);
  EXPECT_TRUE(encode_shard(plain_, tiny_model_with_vae(2), {}, plain_, log_).replaced);
  EXPECT_EQ(ShardFile(plain_).moments_format()->encoder, autoencoder_digest(tiny_model_with_vae(2)));
}

TEST_F(ShardEncoderTest, AModelWithoutAutoencoderWeightsGivesTextStatesAlone) {
  encode_shard(plain_, tiny_model(), {}, encoded_, log_);
  const ShardFile shard(encoded_);
  EXPECT_FALSE(shard.moments_format());
  EXPECT_TRUE(shard.text_states_format());
}

TEST_F(ShardEncoderTest, NumbersBeyondFloat16AreRefusedAndNothingIsLeft) {
  const DiffusionModel model = tiny_model_with_vae();
  {
    const at::NoGradGuard no_grad;
    for (const auto& item : model.text_encoder->named_parameters()) {
      if (item.key() == "final_layer_norm.weight") {
        item.value().fill_(1e6);
      }
    }
  }
  try {
    encode_shard(plain_, model, {}, encoded_, log_);
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--type f32"));
  }
  EXPECT_FALSE(std::filesystem::exists(encoded_));
  encode_shard(plain_, model, {.type = FloatType::f32}, encoded_, log_);
}

}  // namespace
}  // namespace soup::test
