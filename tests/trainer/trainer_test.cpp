// The trainer: learns, resumes to the same bits, stops on NaN with a name, keeps its promises about files.
#include "trainer/trainer.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "core/signals.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/sampler.hpp"

namespace soup {
namespace {

using test::TemporaryFolder;

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    test::write_tiny_shard(folder_.path() / "shard.h5", "squares", 48);
    images_ = test::tiny_images(folder_.path() / "shard.h5");
  }

  TrainJob job(const std::string& name, const TrainConfig& config) const {
    return test::tiny_job(folder_.path(), name, config);
  }

  // Bytes of all parameters after training.
  static std::string bytes_of(const DiffusionModel& model) {
    std::string bytes;
    for (const at::Tensor& parameter : model.unet->parameters()) {
      const at::Tensor flat = parameter.detach().contiguous();
      bytes.append(static_cast<const char*>(flat.data_ptr()), flat.nbytes());
    }
    return bytes;
  }

  TemporaryFolder folder_;
  std::shared_ptr<TrainingImages> images_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  Log log_{1};
};

TEST_F(TrainerTest, LossFallsAndCurveCountsImages) {
  TrainConfig config = test::tiny_training();
  config.images = 1600;
  DiffusionModel model = test::tiny_model();
  Trainer trainer(model, images_, {}, job("learn", config), *self_, log_);
  trainer.run();
  const std::vector<LossPoint>& curve = trainer.clock().curve;
  ASSERT_EQ(curve.size(), 1600U / 32U);
  EXPECT_EQ(curve.back().images, 1600U);
  EXPECT_LT(curve.back().loss, 0.5 * curve.front().loss);
}

TEST_F(TrainerTest, ResumedRunHasTheBitsOfAnUninterruptedOne) {
  const TrainConfig config = test::tiny_training();
  DiffusionModel whole = test::tiny_model();
  Trainer reference(whole, images_, {}, job("whole", config), *self_, log_);
  reference.run();

  // As if killed after the checkpoint at 128 images: the schedule is that of the whole run.
  const TrainJob broken = job("broken", config);
  {
    DiffusionModel model = test::tiny_model();
    Trainer trainer(model, images_, {}, broken, *self_, log_);
    trainer.run();
  }
  std::filesystem::remove(broken.folder / "checkpoint-000000000256.safetensors");
  ASSERT_TRUE(std::filesystem::exists(broken.folder / "checkpoint-000000000192.safetensors"));
  DiffusionModel resumed = test::tiny_model();
  Trainer trainer(resumed, images_, {}, broken, *self_, log_);
  trainer.run();

  EXPECT_EQ(bytes_of(resumed), bytes_of(whole));
  ASSERT_EQ(trainer.clock().curve.size(), reference.clock().curve.size());
  for (std::size_t i = 0; i < reference.clock().curve.size(); ++i) {
    EXPECT_EQ(trainer.clock().curve[i].loss, reference.clock().curve[i].loss) << i;
  }
}

TEST_F(TrainerTest, KeepsAsManyCheckpointsAsItIsTold) {
  TrainConfig config = test::tiny_training();
  const std::vector<std::string> names = {"checkpoint-000000000064.safetensors", "checkpoint-000000000128.safetensors",
                                          "checkpoint-000000000192.safetensors", "checkpoint-000000000256.safetensors"};
  for (const std::size_t keep : {1U, 3U}) {
    config.keep_checkpoints = keep;
    const TrainJob kept = job("keep-" + std::to_string(keep), config);
    DiffusionModel model = test::tiny_model();
    Trainer(model, images_, {}, kept, *self_, log_).run();
    for (std::size_t i = 0; i < names.size(); ++i) {
      EXPECT_EQ(std::filesystem::exists(kept.folder / names[i]), i + keep >= names.size()) << names[i];
    }
  }
}

TEST_F(TrainerTest, TornNewestCheckpointFallsBackToTheOneBefore) {
  const TrainConfig config = test::tiny_training();
  const TrainJob shared = job("torn", config);
  DiffusionModel whole = test::tiny_model();
  {
    Trainer trainer(whole, images_, {}, shared, *self_, log_);
    trainer.run();
  }
  const std::filesystem::path newest = shared.folder / "checkpoint-000000000256.safetensors";
  std::fstream file(newest, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-9, std::ios::end);
  file.put('\x55');
  file.close();
  DiffusionModel resumed = test::tiny_model();
  Trainer trainer(resumed, images_, {}, shared, *self_, log_);
  trainer.run();
  EXPECT_EQ(bytes_of(resumed), bytes_of(whole));
}

TEST_F(TrainerTest, CheckpointOfAnotherKeyIsNotUsed) {
  const TrainConfig config = test::tiny_training();
  TrainJob first = job("rekeyed", config);
  DiffusionModel model = test::tiny_model();
  Trainer(model, images_, {}, first, *self_, log_).run();
  first.key = sha256("other key");
  first.config.images = 64;
  DiffusionModel other = test::tiny_model();
  Trainer trainer(other, images_, {}, first, *self_, log_);
  trainer.run();
  EXPECT_EQ(trainer.clock().images, 64U);
  // And stays behind neither: those of the other key are of more images, but of no use here.
  EXPECT_EQ(newest_checkpoint_images(first.folder), 256U);
  DiffusionModel third = test::tiny_model();
  first.config.images = 96;
  Trainer goes_on(third, images_, {}, first, *self_, log_);
  goes_on.run();
  EXPECT_EQ(goes_on.clock().steps, 6U);
  EXPECT_EQ(newest_checkpoint_images(first.folder), 96U);
}

TEST_F(TrainerTest, NanStopsWithTensorShardAndImages) {
  const TrainJob poisoned = job("nan", test::tiny_training());
  DiffusionModel model = test::tiny_model();
  {
    const at::NoGradGuard no_grad;
    model.unet->named_parameters()["conv_out.weight"].view(-1)[3] = std::numeric_limits<float>::quiet_NaN();
  }
  Trainer trainer(model, images_, {}, poisoned, *self_, log_);
  try {
    trainer.run();
    FAIL() << "NaN went unnoticed";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("unet.conv_out.weight"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("ingredient nan"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("after 0 images"));
    EXPECT_EQ(error.exit_code(), ExitCode::data);
  }
  EXPECT_TRUE(std::filesystem::is_empty(poisoned.folder));
}

TEST_F(TrainerTest, DivergenceKeepsTheLastGoodCheckpoint) {
  TrainJob diverging = job("diverging", test::tiny_training());
  DiffusionModel model = test::tiny_model();
  Trainer(model, images_, {}, diverging, *self_, log_).run();
  diverging.config.images = 1024;
  diverging.config.learning_rate = 1e36;
  DiffusionModel again = test::tiny_model();
  Trainer trainer(again, images_, {}, diverging, *self_, log_);
  EXPECT_THROW(trainer.run(), DataError);
  EXPECT_TRUE(std::filesystem::exists(diverging.folder / "checkpoint-000000000256.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(diverging.folder / "checkpoint-000000001024.safetensors"));
}

TEST_F(TrainerTest, FrozenTextEncoderKeepsItsBits) {
  TrainConfig config = test::tiny_training();
  config.train_text_encoder = false;
  config.images = 64;
  DiffusionModel model = test::tiny_model();
  const at::Tensor before = model.text_encoder->parameters().front().detach().clone();
  Trainer(model, images_, {}, job("frozen", config), *self_, log_).run();
  EXPECT_TRUE(at::equal(before, model.text_encoder->parameters().front()));
}

TEST_F(TrainerTest, EmaScopeSwapsAndRestores) {
  TrainConfig config = test::tiny_training();
  config.images = 64;
  DiffusionModel model = test::tiny_model();
  Trainer trainer(model, images_, {}, job("ema", config), *self_, log_);
  trainer.run();
  const std::string raw = bytes_of(model);
  {
    const Trainer::EmaScope ema(trainer);
    EXPECT_NE(bytes_of(model), raw);
  }
  EXPECT_EQ(bytes_of(model), raw);
}

TEST_F(TrainerTest, StopSignalWritesACheckpointAndEndsWith75) {
  install_stop_signals();
  TrainConfig config = test::tiny_training();
  config.checkpoint_images = 1000000;
  const TrainJob stopped = job("stopped", config);
  DiffusionModel model = test::tiny_model();
  Trainer trainer(model, images_, {}, stopped, *self_, log_);
  EXPECT_EXIT(
      {
        std::raise(SIGUSR1);
        try {
          trainer.run();
        } catch (const Interrupted& error) {
          std::_Exit(std::filesystem::exists(stopped.folder / "checkpoint-000000000016.safetensors")
                         ? static_cast<int>(error.exit_code())
                         : 1);
        }
        std::_Exit(2);
      },
      ::testing::ExitedWithCode(75), "");
}

TEST_F(TrainerTest, EmptyTrainingSetIsRefused) {
  DiffusionModel model = test::tiny_model();
  EXPECT_THROW(
      Trainer(model, std::make_shared<TrainingImages>(), {}, job("empty", test::tiny_training()), *self_, log_),
      ConfigError);
}

TEST_F(TrainerTest, SnapshotIsAModelFolderThatLoads) {
  TrainConfig config = test::tiny_training();
  config.images = 64;
  config.snapshots = true;
  const TrainJob snapshot = job("snapshot", config);
  DiffusionModel model = test::tiny_model();
  Trainer trainer(model, images_, {}, snapshot, *self_, log_);
  trainer.run();
  const DiffusionModel loaded = load_model(snapshot.folder / "snapshot");
  const Trainer::EmaScope ema(trainer);
  EXPECT_EQ(bytes_of(loaded), bytes_of(model));
}

TEST_F(TrainerTest, PicturesAreDrawnWithTheTextStatesOfTheTraining) {
  TrainConfig config = test::tiny_training();
  config.images = 32;
  config.keep_weights = "raw";
  config.clip_skip = 2;
  config.sample_images = 32;
  config.sample_prompts = {"red"};
  const TrainJob with_pictures = job("pictures", config);
  const DiffusionModel tiny = test::tiny_model();
  ModelConfig two_layers = tiny.config;
  two_layers.text_encoder.num_hidden_layers = 2;
  DiffusionModel model = make_model(two_layers, tiny.tokenizer, SeedTree(1));
  Trainer(model, images_, {}, with_pictures, *self_, log_).run();
  const InitialNoise noise = sample_noise(model, with_pictures.seeds, 0, 1, 8, 8);
  SampleOptions options;
  options.clip_skip = 2;
  write_png(folder_.path() / "expected.png", image_grid(sample_images(model, {"red"}, noise, options), 1, 2, 2));
  EXPECT_EQ(read_file(with_pictures.folder / Trainer::samples_folder / "images-000000000032.png"),
            read_file(folder_.path() / "expected.png"));
}

}  // namespace
}  // namespace soup
