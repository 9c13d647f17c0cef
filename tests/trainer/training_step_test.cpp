// One optimizer step under every option: micro-batches, recomputation, bfloat16, frozen parts, rates; and what the
// options do to a whole training.
#include "trainer/training_step.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/autocast.hpp"
#include "trainer/recompute.hpp"
#include "trainer/sampler.hpp"
#include "trainer/trainer.hpp"

namespace soup {
namespace {

using test::TemporaryFolder;
using testing::HasSubstr;

class TrainingStepTest : public ::testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    test::write_tiny_shard(folder_.path() / "shard.h5", "squares", 48);
    images_ = test::tiny_images(folder_.path() / "shard.h5");
  }

  Batch batch(const DiffusionModel& model, const TrainConfig& config) const {
    return BatchMaker(images_, config, SeedTree(7), "squares", model).make(0, config.batch);
  }

  // The gradients of the first batch, and its loss.
  std::pair<at::Tensor, double> gradients(const TrainConfig& config, const std::string& prediction = "v_prediction") {
    DiffusionModel model = test::tiny_model(prediction);
    TrainingStep step(model, config, *self_);
    const StepResult result = step.accumulate(batch(model, config));
    return {step.state().gradients().clone(), result.loss.item<double>()};
  }

  // Names of the parameters whose bits one step changes.
  std::set<std::string> changed_by_a_step(const TrainConfig& config) {
    DiffusionModel model = test::tiny_model();
    const DiffusionModel before = test::tiny_model();
    TrainingStep step(model, config, *self_);
    step.apply(step.accumulate(batch(model, config)), 1000);
    std::set<std::string> changed;
    const auto compare = [&changed](const std::string& part, const torch::nn::Module& now,
                                    const torch::nn::Module& was) {
      for (const auto& item : now.named_parameters()) {
        if (!at::equal(item.value(), was.named_parameters()[item.key()])) {
          changed.insert(part + "." + item.key());
        }
      }
    };
    compare("unet", *model.unet, *before.unet);
    compare("text_encoder", *model.text_encoder, *before.text_encoder);
    return changed;
  }

  static double difference(const at::Tensor& found, const at::Tensor& expected) {
    return ((found - expected).norm() / expected.norm()).item<double>();
  }

  TemporaryFolder folder_;
  std::shared_ptr<TrainingImages> images_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  Log log_{1};
};

TEST_F(TrainingStepTest, MicroBatchesAddUpToTheBatch) {
  TrainConfig config = test::tiny_training();
  const auto [whole, loss] = gradients(config);
  for (const std::int64_t size : {1, 5, 8, 100}) {  // 16 = 5 + 5 + 5 + 1
    config.micro_batch = size;
    const auto [parts, same_loss] = gradients(config);
    EXPECT_LE(difference(parts, whole), 1e-5) << size;
    EXPECT_NEAR(same_loss, loss, 1e-5) << size;
  }
}

TEST_F(TrainingStepTest, CaptionsThatAreCutAreCounted) {
  TrainConfig config = test::tiny_training();
  config.caption_dropout = 0.0;
  config.style_dropout = 0.5;
  const DiffusionModel model = test::tiny_model();
  const Batch some = batch(model, config);
  const auto is_cut = [&model](const std::string& caption) { return model.tokenizer->encode(caption).truncated; };
  EXPECT_EQ(some.truncated, std::ranges::count_if(some.captions, is_cut));
  EXPECT_GT(some.truncated, 0) << "with the style they are longer than eight tokens";
  EXPECT_LT(some.truncated, config.batch);
}

TEST_F(TrainingStepTest, RecomputedActivationsGiveTheSameGradients) {
  TrainConfig config = test::tiny_training();
  const auto [kept, loss] = gradients(config);
  config.recompute_activations = true;
  const auto [recomputed, same_loss] = gradients(config);
  EXPECT_EQ(loss, same_loss);
  EXPECT_LE(difference(recomputed, kept), 1e-6);
}

TEST(Recomputed, ComputesTwiceAlike) {
  at::Tensor weight = at::tensor({2.0F}).set_requires_grad(true);
  at::Tensor input = at::tensor({3.0F}).set_requires_grad(true);
  std::vector<bool> in_bfloat16;
  const auto square = [&](const std::vector<at::Tensor>& inputs) {
    in_bfloat16.push_back(at::autocast::is_autocast_enabled(at::kCPU));
    return weight * inputs[0] * inputs[0];
  };
  at::Tensor output;
  {
    const AutocastScope autocast(at::kCPU, true);
    output = recomputed(square, {input, at::Tensor()});
  }
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
  output.backward();
  EXPECT_EQ(in_bfloat16, (std::vector<bool>{true, true})) << "the second pass rounds as the first did";
  EXPECT_EQ(weight.grad().item<float>(), 9.0F);
  EXPECT_EQ(input.grad().item<float>(), 12.0F);
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(recomputed(square, {input}).requires_grad());
  EXPECT_EQ(in_bfloat16.size(), 3U);
}

TEST_F(TrainingStepTest, Bfloat16IsNearAndKeepsFloatWeights) {
  TrainConfig config = test::tiny_training();
  const auto [exact, loss] = gradients(config);
  config.precision = "bf16";
  const auto [rounded, near_loss] = gradients(config);
  EXPECT_EQ(rounded.scalar_type(), at::kFloat);
  EXPECT_NEAR(near_loss, loss, 0.01 * loss);
  EXPECT_LE(difference(rounded, exact), 0.05);
  EXPECT_GE(difference(rounded, exact), 1e-4) << "something was computed in bfloat16";
}

TEST_F(TrainingStepTest, FrozenParametersKeepTheirBitsAndAllOthersChange) {
  TrainConfig config = test::tiny_training();
  config.caption_dropout = 0.0;
  const std::set<std::string> all = changed_by_a_step(config);
  config.frozen = {"unet.down_blocks.*", "*.norm*", "text_encoder.encoder.layers.0.mlp.fc1.weight"};
  const std::set<std::string> some = changed_by_a_step(config);
  std::set<std::string> expected;
  for (const std::string& name : all) {
    if (!name.starts_with("unet.down_blocks.") && name.find(".norm") == std::string::npos &&
        name != "text_encoder.encoder.layers.0.mlp.fc1.weight") {
      expected.insert(name);
    }
  }
  EXPECT_EQ(some, expected);
  EXPECT_LT(some.size(), all.size());
  EXPECT_GT(some.size(), 20U);
}

TEST_F(TrainingStepTest, PatternsThatFreezeNothingOrAllAreRefused) {
  const auto refusal = [&](const std::vector<std::string>& frozen) -> std::string {
    DiffusionModel model = test::tiny_model();
    TrainConfig config = test::tiny_training();
    config.frozen = frozen;
    try {
      TrainingStep(model, config, *self_);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal({"unet.*", "vae.*"}), HasSubstr("\"vae.*\" matches no parameter"));
  EXPECT_THAT(refusal({"*"}), HasSubstr("no parameter to train"));
}

TEST_F(TrainingStepTest, TheTextEncoderHasItsOwnRate) {
  TrainConfig config = test::tiny_training();
  config.caption_dropout = 0.0;
  const auto trains_text = [this](const TrainConfig& some) {
    for (const std::string& name : changed_by_a_step(some)) {
      if (name.starts_with("text_encoder.")) {
        return true;
      }
    }
    return false;
  };
  EXPECT_TRUE(trains_text(config));
  config.text_encoder_learning_rate = 0.0;
  EXPECT_FALSE(trains_text(config));
  config.text_encoder_learning_rate = 1e-4;
  EXPECT_TRUE(trains_text(config));
}

TEST_F(TrainingStepTest, CaptionsAreLeftOutAsOftenAsTheyShould) {
  const DiffusionModel model = test::tiny_model();
  TrainConfig config = test::tiny_training();
  config.batch = 4000;
  config.style_dropout = 0.0;
  const auto empty = [&](double dropout) {
    config.caption_dropout = dropout;
    return std::ranges::count(batch(model, config).captions, "");
  };
  EXPECT_EQ(empty(0.0), 0);
  EXPECT_EQ(empty(1.0), 4000);
  // Five standard deviations of a binomial of 4,000 draws.
  EXPECT_NEAR(static_cast<double>(empty(0.1)), 400.0, 5.0 * std::sqrt(4000.0 * 0.1 * 0.9));
}

TEST_F(TrainingStepTest, LongGradientsAreCutToTheLimitAndShortOnesAreNot) {
  TrainConfig config = test::tiny_training();
  config.clip_norm = 0.0;
  DiffusionModel model = test::tiny_model();
  TrainingStep step(model, config, *self_);
  const StepResult result = step.accumulate(batch(model, config));
  const auto norm = result.gradient_norm.item<double>();
  ASSERT_GT(norm, 0.0);
  const at::Tensor whole = step.state().gradients().clone();
  const auto scaled = [&](double limit) {
    step.state().gradients().copy_(whole);
    step.state().scale_gradients(limit, result.gradient_norm);
    return step.state().gradients().clone();
  };
  EXPECT_TRUE(at::equal(scaled(0.0), whole)) << "0: no limit";
  EXPECT_TRUE(at::equal(scaled(2.0 * norm), whole));
  const at::Tensor cut = scaled(0.5 * norm);
  EXPECT_NEAR(cut.norm().item<double>(), 0.5 * norm, 1e-5 * norm);
  EXPECT_LE(difference(2.0 * cut, whole), 1e-5) << "the direction stays";
}

TEST_F(TrainingStepTest, NoiseOptionsChangeWhatTheyShould) {
  const DiffusionModel model = test::tiny_model();
  TrainConfig config = test::tiny_training();
  const Batch plain = batch(model, config);
  EXPECT_FALSE(plain.latent_noise.defined());
  EXPECT_FALSE(plain.noise.seen.defined());
  config.noise_offset = 0.1;
  const at::Tensor offset = batch(model, config).noise.added - plain.noise.added;
  EXPECT_LE((offset - offset.mean({2, 3}, true)).abs().max().item<double>(), 1e-6) << "one number per channel";
  const double deviation = offset.select(2, 0).select(2, 0).std().item<double>();
  EXPECT_NEAR(deviation, 0.1, 0.03);
  config.noise_offset = 0.0;
  config.input_perturbation = 0.2;
  const Batch perturbed = batch(model, config);
  EXPECT_TRUE(at::equal(perturbed.noise.added, plain.noise.added)) << "what is learned stays";
  EXPECT_NEAR((perturbed.noise.seen - plain.noise.added).std().item<double>(), 0.2, 0.01);
  EXPECT_NE(gradients(config).second, gradients(test::tiny_training()).second);
}

TEST_F(TrainingStepTest, PredictionAndScheduleBecomeTheModels) {
  DiffusionModel model = test::tiny_model("epsilon");
  TrainConfig config = test::tiny_training();
  config.prediction_type = "v_prediction";
  config.zero_terminal_snr = true;
  const TrainingStep step(model, config, *self_);
  EXPECT_EQ(model.config.schedule.prediction_type, "v_prediction");
  EXPECT_TRUE(model.config.schedule.rescale_betas_zero_snr);
  EXPECT_EQ(model.schedule->alpha_bar(999), 0.0);
  DiffusionModel other = test::tiny_model("epsilon");
  config.prediction_type = "model";
  EXPECT_THROW(TrainingStep(other, config, *self_), ConfigError);
}

// diffusers' train_text_to_image.py: weights of the loss on what the network predicts.
TEST(DenoisingObjective, MinSnrWeights) {
  for (const std::string prediction : {"epsilon", "v_prediction", "sample"}) {
    ScheduleConfig config;
    config.prediction_type = prediction;
    const NoiseSchedule schedule(config);
    const DenoisingObjective plain(schedule, at::kCPU);
    const DenoisingObjective weighted(schedule, at::kCPU, 5.0);
    const at::Tensor timesteps = at::tensor({3L, 200L, 500L, 990L});
    const at::Tensor prediction_of_nothing = at::zeros({4, 1, 2, 2});
    const at::Tensor target = at::ones({4, 1, 2, 2});
    const at::Tensor unweighted = plain.loss(prediction_of_nothing, target, timesteps);
    const at::Tensor losses = weighted.loss(prediction_of_nothing, target, timesteps);
    for (std::int64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(unweighted[i].item<float>(), 1.0F);
      const double alpha_bar = schedule.alpha_bar(timesteps[i].item<std::int64_t>());
      const double snr = alpha_bar / (1.0 - alpha_bar);
      const double on_image = std::min(snr, 5.0);
      const double expected =
          prediction == "epsilon" ? on_image / snr : (prediction == "sample" ? on_image : on_image / (snr + 1.0));
      EXPECT_NEAR(losses[i].item<double>(), expected, 1e-5 * expected) << prediction << i;
    }
  }
}

TEST(DenoisingObjective, TargetsAreWhatTheyAreNamed) {
  const at::Tensor latents = at::linspace(-1.0, 1.0, 24).view({2, 3, 2, 2});
  const LatentNoise noise{.added = at::linspace(2.0, -2.0, 24).view({2, 3, 2, 2})};
  const at::Tensor timesteps = at::tensor({100L, 999L});
  for (const bool zero_snr : {false, true}) {
    ScheduleConfig config;
    config.rescale_betas_zero_snr = zero_snr;
    const NoiseSchedule schedule(config);
    const DenoisingObjective v(schedule, at::kCPU);
    // sqrt(a) v + ... : x = sqrt(a) z - sqrt(1 - a) v and noise = sqrt(a) v + sqrt(1 - a) z undo each other.
    const at::Tensor noised = v.noised(latents, noise, timesteps);
    const at::Tensor target = v.target(latents, noise, timesteps);
    for (std::int64_t i = 0; i < 2; ++i) {
      const double alpha_bar = schedule.alpha_bar(timesteps[i].item<std::int64_t>());
      const double signal = std::sqrt(alpha_bar);
      const double sigma = std::sqrt(1.0 - alpha_bar);
      EXPECT_TRUE(at::allclose(signal * noised[i] - sigma * target[i], latents[i], 1e-5, 1e-5));
      EXPECT_TRUE(at::allclose(signal * target[i] + sigma * noised[i], noise.added[i], 1e-5, 1e-5));
    }
    if (zero_snr) {
      EXPECT_TRUE(at::equal(noised[1], noise.added[1])) << "nothing of the image is left at the last timestep";
    }
  }
  ScheduleConfig config;
  config.prediction_type = "epsilon";
  EXPECT_TRUE(
      at::equal(DenoisingObjective(NoiseSchedule(config), at::kCPU).target(latents, noise, timesteps), noise.added));
  config.prediction_type = "sample";
  EXPECT_TRUE(
      at::equal(DenoisingObjective(NoiseSchedule(config), at::kCPU).target(latents, noise, timesteps), latents));
}

TEST_F(TrainingStepTest, WithEveryOptionOnAResumedTrainingHasTheBitsOfAnUninterruptedOne) {
  TrainConfig config = test::tiny_training();
  config.micro_batch = 5;
  config.precision = "bf16";
  config.recompute_activations = true;
  config.text_encoder_learning_rate = 1e-4;
  config.lr_schedule = "linear";
  config.zero_terminal_snr = true;
  config.min_snr_gamma = 5.0;
  config.noise_offset = 0.05;
  config.input_perturbation = 0.1;
  config.frozen = {"unet.mid_block.*"};
  config.keep_weights = "raw";
  config.sample_images = 128;
  config.sample_prompts = {"red", "blue"};
  const auto train = [&](const std::string& name, std::uint64_t images) {
    DiffusionModel model = test::tiny_model();
    TrainConfig some = config;
    some.images = images;
    some.lr_schedule = "constant";
    Trainer trainer(model, images_, {}, test::tiny_job(folder_.path(), name, some), *self_, log_);
    trainer.run();
    return at::cat([&] {
      std::vector<at::Tensor> flat;
      for (const at::Tensor& parameter : model.unet->parameters()) {
        flat.push_back(parameter.detach().flatten());
      }
      return flat;
    }());
  };
  const at::Tensor whole = train("whole", 256);
  train("parts", 128);
  EXPECT_TRUE(at::equal(train("parts", 256), whole));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "whole" / "samples" / "images-000000000128.png"));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "parts" / "samples" / "images-000000000256.png"));
}

// On a GPU whoever looks at a number waits for all that is queued before it. (Of apply() gpu_test says the same: on the
// CPU PyTorch's AdamW looks at the count of steps.)
TEST_F(TrainingStepTest, AStepLooksAtNoNumber) {
  TrainConfig config = test::tiny_training();
  config.micro_batch = 5;
  config.recompute_activations = true;
  config.min_snr_gamma = 5.0;
  config.input_perturbation = 0.1;
  DiffusionModel model = test::tiny_model();
  TrainingStep step(model, config, *self_);
  const Batch some = batch(model, config);
  static thread_local std::set<std::string> called;
  called.clear();
  const at::CallbackHandle observer = at::addThreadLocalCallback(
      at::RecordFunctionCallback([](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
        called.insert(function.name());
        return nullptr;
      }).scopes({at::RecordScope::FUNCTION}));
  const StepResult result = step.accumulate(some);
  EXPECT_EQ(result.is_bad().sizes().size(), 0U);
  EXPECT_TRUE(called.contains("aten::isfinite"));
  for (const char* looks : {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"}) {
    EXPECT_FALSE(called.contains(looks)) << looks;
  }
  static_cast<void>(result.loss.item<double>());
  EXPECT_TRUE(called.contains("aten::item")) << "else who looks would go unnoticed";
  at::removeCallback(observer);
}

TEST_F(TrainingStepTest, AResultThatIsNotFiniteChangesNothingAndNothingAfterItDoes) {
  DiffusionModel model = test::tiny_model();
  const TrainConfig config = test::tiny_training();
  TrainingStep step(model, config, *self_);
  const Batch good = batch(model, config);
  Batch bad = good;
  bad.noise.added = good.noise.added.clone();
  bad.noise.added[3][0][0][0] = std::numeric_limits<float>::quiet_NaN();
  step.apply(step.accumulate(good), 0);
  const at::Tensor before = step.state().weights().clone();
  const at::Tensor moments = step.optimizer().second_moment().clone();
  const StepResult result = step.accumulate(bad);
  EXPECT_EQ(result.is_bad().item<float>(), 1.0F);
  step.apply(result, 16);
  EXPECT_TRUE(at::equal(step.state().weights(), before));
  step.apply(step.accumulate(good), 32);
  EXPECT_TRUE(at::equal(step.state().weights(), before)) << "a later step is as good as its start";
  EXPECT_TRUE(at::equal(step.optimizer().second_moment(), moments));
}

// Latents of an AutoencoderKL are drawn, from their own stream.
TEST_F(TrainingStepTest, AnAutoencoderKLsLatentsAreDrawn) {
  DiffusionModel model = test::tiny_model_with_vae();
  const TrainConfig training = test::tiny_training();
  const Batch drawn = batch(model, training);
  ASSERT_TRUE(drawn.latent_noise.defined());
  EXPECT_EQ(drawn.noise.added.sizes(), (std::vector<std::int64_t>{16, 4, 4, 4}));
  TrainingStep step(model, training, *self_);
  const double loss = step.accumulate(drawn).loss.item<double>();
  EXPECT_TRUE(std::isfinite(loss));
  Batch mean = drawn;
  mean.latent_noise = at::Tensor();
  EXPECT_NE(step.accumulate(mean).loss.item<double>(), loss);
}

}  // namespace
}  // namespace soup
