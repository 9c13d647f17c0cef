// The trainer on 1 to 4 ranks: what one rank would have trained, the same bits on every rank, stops and errors that
// reach all.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>
#include <set>

#include "core/error.hpp"
#include "core/signals.hpp"
#include "tests/launch/mpi_main.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/batch.hpp"
#include "trainer/shard_encoder.hpp"
#include "trainer/trainer.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

// What a training leaves: raw and EMA values of all parts, and the loss of every step.
struct Trained {
  std::vector<float> weights;
  std::vector<float> ema;
  std::vector<double> losses;
};

std::vector<float> values_of(const DiffusionModel& model) {
  std::vector<float> values;
  const auto append = [&values](const torch::nn::Module& module) {
    for (const at::Tensor& parameter : module.parameters()) {
      const at::Tensor flat = parameter.detach().contiguous();
      values.insert(values.end(), flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel());
    }
  };
  append(*model.unet);
  append(*model.text_encoder);
  return values;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  return largest;
}

class TrainerMpi : public testing::Test {
 protected:
  Communicator& group_ = test::world();
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  std::unique_ptr<test::TemporaryFolder> folder_;
  fs::path root_;  // one folder that all ranks see
  std::shared_ptr<TrainingImages> images_;
  Log log_{1};

  void SetUp() override {
    at::set_num_threads(1);
    if (group_.rank() == 0) {
      folder_ = std::make_unique<test::TemporaryFolder>();
      test::write_tiny_shard(folder_->path() / "shard.h5", "squares", 48);
    }
    root_ = broadcast_text(group_, folder_ ? folder_->path().string() : "", 0);
    images_ = test::tiny_images(root_ / "shard.h5");
  }
  void TearDown() override { group_.barrier(); }

  [[nodiscard]] bool is_last() const { return group_.rank() == group_.size() - 1; }

  // 10 steps of 12 images, which 1, 2, 3 and 4 ranks share evenly; the loss of each step is a point of the curve.
  static TrainConfig training() {
    TrainConfig config = test::tiny_training();
    config.images = 120;
    config.batch = 12;
    config.log_images = 12;
    config.checkpoint_images = 36;
    return config;
  }

  TrainJob job(const std::string& name, const TrainConfig& config) const { return test::tiny_job(root_, name, config); }

  Trained train(const TrainJob& job, Communicator& group) { return train(job, group, test::tiny_model()); }
  Trained train(const TrainJob& job, Communicator& group, DiffusionModel model) {
    Trainer trainer(model, images_, {}, job, group, log_);
    trainer.run();
    Trained result{values_of(model), {}, {}};
    const Trainer::EmaScope ema(trainer);
    result.ema = values_of(model);
    for (const LossPoint& point : trainer.clock().curve) {
      result.losses.push_back(point.loss);
    }
    return result;
  }
  // By all ranks, without a stop; once for all tests.
  const Trained& uninterrupted() {
    static const Trained trained = train(job("uninterrupted", training()), group_);
    return trained;
  }
  // In a group of this rank alone.
  Trained train_alone(const TrainConfig& config) {
    return train(job("alone-" + std::to_string(group_.rank()), config), *self_);
  }

  // Bits, by digest.
  void expect_same_on_all_ranks(const Trained& mine) {
    const auto digest = [](const auto& values) { return sha256(std::as_bytes(std::span(values))).hex(); };
    const std::vector<std::string> all =
        all_gather_text(group_, digest(mine.weights) + digest(mine.ema) + digest(mine.losses));
    EXPECT_EQ(std::ranges::count(all, all.front()), group_.size());
  }
  static void expect_same_bits(const Trained& a, const Trained& b) {
    EXPECT_EQ(a.weights, b.weights);
    EXPECT_EQ(a.ema, b.ema);
    EXPECT_EQ(a.losses, b.losses);
  }

  void expect_near(const Trained& together, const Trained& alone) {
    ASSERT_EQ(together.losses.size(), 10U);
    ASSERT_EQ(alone.losses.size(), 10U);
    for (std::size_t step = 0; step < alone.losses.size(); ++step) {
      // Only the order of float32 sums differs: by up to 1.5e-7 of the loss, and 2.4e-7 in weights that moved by 1e-2.
      // The limits are several times that.
      EXPECT_NEAR(together.losses[step], alone.losses[step], 1e-6 * alone.losses[step]) << "step " << step;
    }
    EXPECT_LE(largest_difference(together.weights, alone.weights), 2.5e-6);
    EXPECT_LE(largest_difference(together.ema, alone.ema), 2.5e-6);
    if (group_.size() == 1) {
      expect_same_bits(together, alone);
    }
  }

  // From here on images are of three sizes, and the shard holds this model's latents and text states.
  void use_encoded_buckets(const DiffusionModel& model) {
    agreed(group_, [&] {
      if (group_.rank() == 0) {
        test::write_tiny_shard(root_ / "buckets.h5", "squares", 66, {{8, 8}, {4, 16}, {12, 4}});
        encode_shard(root_ / "buckets.h5", model, {.type = FloatType::f32}, root_ / "encoded.h5", log_);
      }
    });
    images_ = test::tiny_images(root_ / "encoded.h5");
    ASSERT_EQ(images_->buckets().size(), 3U);
  }

  // What the ranks make of one batch, together, is what one rank makes of it: returned.
  Batch expect_shares_of(const DiffusionModel& model, CachedInputs cached, std::uint64_t counter) {
    const TrainConfig config = training();
    const std::int64_t share = config.batch / group_.size();
    BatchMaker maker(images_, config, SeedTree(7), "squares", model, cached);
    Batch whole = maker.make(counter, config.batch);
    const Batch mine = maker.make(counter + static_cast<std::uint64_t>(group_.rank() * share), share);
    const auto expect_together = [&](const at::Tensor& part, const at::Tensor& all) {
      ASSERT_EQ(part.defined(), all.defined());
      if (!all.defined()) {
        return;
      }
      at::Tensor gathered = at::empty_like(all);
      const auto bytes = [](const at::Tensor& tensor) {
        return std::span(static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes());
      };
      group_.all_gather(bytes(part), bytes(gathered));
      EXPECT_TRUE(at::equal(gathered, all));
    };
    expect_together(mine.images, whole.images);
    expect_together(mine.moments, whole.moments);
    expect_together(mine.latent_noise, whole.latent_noise);
    expect_together(mine.noise.added, whole.noise.added);
    expect_together(mine.timesteps, whole.timesteps);
    expect_together(mine.text_states, whole.text_states);
    const auto lines = [](const std::vector<std::string>& captions) {
      std::string text;
      for (const std::string& caption : captions) {
        text += caption + "\n";
      }
      return text;
    };
    std::string together;
    for (const std::string& text : all_gather_text(group_, lines(mine.captions))) {
      together += text;
    }
    EXPECT_EQ(together, lines(whole.captions));
    return whole;
  }

  // The error that this training ends with on this rank, of any kind; "" if it ends well.
  std::string failure(DiffusionModel& model, const TrainJob& job, ExitCode code) {
    try {
      Trainer(model, images_, {}, job, group_, log_).run();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), code);
      return error.what();
    }
    return "";
  }
};

testing::AssertionResult has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos ? testing::AssertionSuccess()
                                              : testing::AssertionFailure() << '"' << part << "\" is not in: " << text;
}

TEST_F(TrainerMpi, SharesOfTheRanksAreTheBatchOfOneRank) {
  const Batch whole = expect_shares_of(test::tiny_model(), {}, 36);
  EXPECT_TRUE(whole.images.defined());
}

TEST_F(TrainerMpi, SharesOfBatchesOfSeveralSizesAndOfEncodedOnesAreTheBatchOfOneRank) {
  const DiffusionModel model = test::tiny_model_with_vae();
  use_encoded_buckets(model);
  std::set<std::vector<std::int64_t>> shapes;
  for (const CachedInputs cached : {CachedInputs{}, CachedInputs{.moments = true, .text_states = true}}) {
    for (std::uint64_t counter = 0; counter < 120; counter += 12) {
      const Batch whole = expect_shares_of(model, cached, counter);
      EXPECT_EQ(whole.images.defined(), !cached.moments);
      EXPECT_EQ(whole.text_states.defined(), cached.text_states);
      EXPECT_TRUE(whole.latent_noise.defined());
      shapes.insert(whole.noise.added.sizes().vec());
    }
  }
  EXPECT_EQ(shapes.size(), 3U);
}

TEST_F(TrainerMpi, EncodedBucketsAreTrainedAsByOneRank) {
  use_encoded_buckets(test::tiny_model_with_vae());
  TrainConfig config = training();
  config.epsilon = 1e-4;  // as below
  config.train_text_encoder = false;
  const Trained together = train(job("buckets", config), group_, test::tiny_model_with_vae());
  const Trained alone =
      train(job("buckets-alone-" + std::to_string(group_.rank()), config), *self_, test::tiny_model_with_vae());
  expect_near(together, alone);
  expect_same_on_all_ranks(together);
}

TEST_F(TrainerMpi, CurveAndWeightsAreOneRanks) {
  TrainConfig config = training();
  // Gradients that are zero in exact arithmetic (those of keys' biases) are rounding, which differs with the order of
  // sums; with a tiny epsilon Adam would blow it up to whole steps.
  config.epsilon = 1e-4;
  const Trained together = train(job("together", config), group_);
  const Trained alone = train_alone(config);

  expect_near(together, alone);
  EXPECT_GT(largest_difference(alone.weights, values_of(test::tiny_model())), 1e-2);
}

TEST_F(TrainerMpi, AllRanksEndWithTheSameBits) {
  expect_same_on_all_ranks(uninterrupted());
  EXPECT_GT(largest_difference(uninterrupted().weights, uninterrupted().ema), 1e-4);
}

TEST_F(TrainerMpi, ABatchOfFewerImagesThanRanksIsRefusedOnAllRanks) {
  TrainConfig config = training();
  config.batch = group_.size() - 1;
  if (config.batch == 0) {
    return;  // one rank takes any batch
  }
  config.images = static_cast<std::uint64_t>(config.batch);
  DiffusionModel model = test::tiny_model();
  const std::string text = failure(model, job("few", config), ExitCode::usage);
  EXPECT_TRUE(has(text, "ingredient few"));
  EXPECT_TRUE(has(text, "batch of " + std::to_string(config.batch)));
  EXPECT_TRUE(has(text, std::to_string(group_.size()) + " ranks"));
}

TEST_F(TrainerMpi, UnevenSharesAndMicroBatchesAreTrainedAsByOneRank) {
  TrainConfig config = training();
  config.epsilon = 1e-4;  // as above
  config.batch = 13;      // 2 ranks: 6 and 7; 3: 4, 4 and 5; 4: 3, 3, 3 and 4
  config.images = 130;
  config.log_images = 13;
  config.micro_batch = 4;  // so that ranks make different numbers of backward passes
  const Trained together = train(job("shares", config), group_);
  config.micro_batch = 0;
  const Trained alone = train_alone(config);
  ASSERT_EQ(together.losses.size(), alone.losses.size());
  for (std::size_t step = 0; step < alone.losses.size(); ++step) {
    EXPECT_NEAR(together.losses[step], alone.losses[step], 1e-6 * alone.losses[step]) << "step " << step;
  }
  EXPECT_LE(largest_difference(together.weights, alone.weights), 2.5e-6);
  expect_same_on_all_ranks(together);
}

TEST_F(TrainerMpi, TheSizeOfAGroupMayChangeWhenItGoesOn) {
  TrainConfig config = training();
  config.epsilon = 1e-4;  // as above
  const Trained alone = train_alone(config);
  const TrainJob changing = job("changing", config);
  // The first 108 images by one rank, the rest by all.
  if (group_.rank() == 0) {
    train(changing, *self_);
    fs::remove(changing.folder / "checkpoint-000000000120.safetensors");
    ASSERT_TRUE(fs::exists(changing.folder / "checkpoint-000000000108.safetensors"));
  }
  group_.barrier();
  const Trained together = train(changing, group_);
  EXPECT_LE(largest_difference(together.weights, alone.weights), 2.5e-6);
  expect_same_on_all_ranks(together);
}

TEST_F(TrainerMpi, NanInOneRanksWeightsStopsAllAndNamesThem) {
  const TrainJob poisoned = job("poisoned", training());
  DiffusionModel model = test::tiny_model();
  if (is_last()) {
    const at::NoGradGuard no_grad;
    model.unet->named_parameters()["conv_out.weight"].view(-1)[3] = std::numeric_limits<float>::quiet_NaN();
  }
  const std::string text = failure(model, poisoned, ExitCode::data);
  EXPECT_TRUE(has(text, "after 0 images"));
  EXPECT_TRUE(has(text, "weight of unet.conv_out.weight"));
  if (!is_last()) {
    EXPECT_TRUE(has(text, "rank " + std::to_string(group_.size() - 1)));
  }
  group_.barrier();
  EXPECT_TRUE(fs::is_empty(poisoned.folder));
}

TEST_F(TrainerMpi, NanInOneRanksGradientLateStopsAllAndKeepsTheCheckpoint) {
  const TrainJob broken = job("broken", training());
  DiffusionModel model = test::tiny_model();
  int backwards = 0;
  if (is_last()) {
    model.unet->named_parameters()["mid_block.resnets.0.conv1.weight"].register_hook(
        [&backwards](const at::Tensor& gradient) {
          return ++backwards == 5 ? gradient * std::numeric_limits<float>::infinity() : gradient;
        });
  }
  const std::string text = failure(model, broken, ExitCode::data);
  EXPECT_TRUE(has(text, "after 48 images"));
  EXPECT_TRUE(has(text, "gradient of unet.mid_block.resnets.0.conv1.weight"));
  group_.barrier();
  EXPECT_TRUE(fs::exists(broken.folder / "checkpoint-000000000036.safetensors"));
  EXPECT_EQ(std::distance(fs::directory_iterator(broken.folder), {}), 1);
}

TEST_F(TrainerMpi, RanksThatFindDifferentCheckpointsAreRefused) {
  TrainConfig config = training();
  config.images = 24;
  // Each rank its own folder, of which the last is empty.
  TrainJob apart = job("apart-" + std::to_string(group_.rank()), config);
  if (!is_last()) {
    train(apart, *self_);
  }
  DiffusionModel model = test::tiny_model();
  const std::string text = failure(model, apart, ExitCode::data);
  if (group_.size() == 1) {
    EXPECT_EQ(text, "");
  } else {
    EXPECT_TRUE(has(text, "some rank goes on after 0 images, another after 24"));
  }
}

TEST_F(TrainerMpi, ResumedAfterAKillHasTheBitsOfAnUninterruptedRun) {
  const Trained& whole = uninterrupted();
  const TrainJob killed = job("killed", training());
  train(killed, group_);
  group_.barrier();
  // As if killed between the checkpoint after 108 images and the end.
  if (group_.rank() == 0) {
    fs::remove(killed.folder / "checkpoint-000000000120.safetensors");
    ASSERT_TRUE(fs::exists(killed.folder / "checkpoint-000000000108.safetensors"));
  }
  group_.barrier();
  const Trained resumed = train(killed, group_);
  expect_same_bits(resumed, whole);
  expect_same_on_all_ranks(resumed);
}

// The last test: a stop request stays for the life of the process.
TEST_F(TrainerMpi, StoppedAfterEveryStepBySignalToOneRankItHasTheBitsOfAnUninterruptedRun) {
  const Trained& whole = uninterrupted();
  install_stop_signals();
  if (is_last()) {
    std::raise(SIGUSR1);
  }
  const TrainJob stopped = job("stopped", training());
  int stops = 0;
  Trained resumed;
  while (resumed.weights.empty() && stops < 100) {
    try {
      resumed = train(stopped, group_);
    } catch (const Interrupted& error) {
      ++stops;
      EXPECT_TRUE(has(error.what(), "after " + std::to_string(12 * stops) + " images"));
    }
  }
  EXPECT_EQ(stops, 9);
  expect_same_bits(resumed, whole);
  expect_same_on_all_ranks(resumed);
}

}  // namespace
}  // namespace soup
