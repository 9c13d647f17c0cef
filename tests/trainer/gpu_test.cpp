// Networks, training and sampling on a GPU, against the CPU and against diffusers' fixtures.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/fixture.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/autoencoder_kl.hpp"
#include "trainer/device.hpp"
#include "trainer/geglu.hpp"
#include "trainer/group_norm_silu.hpp"
#include "trainer/sampler.hpp"
#include "trainer/shard_encoder.hpp"
#include "trainer/training_step.hpp"
#include "trainer/weight_file.hpp"

#ifdef SOUP_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

namespace soup::test {
namespace {

// What depends on the order of sums; by the largest value of a tensor.
constexpr double float_tolerance = 1e-4;
constexpr double bfloat16_tolerance = 1.6e-2;

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    const GpuInventory gpus = probe_gpus();
    if (gpus.gpus.empty()) {
      GTEST_SKIP() << "needs a GPU; " << describe(gpus);
    }
    gpu_ = use_device(choose_device("cuda", gpus), /*deterministic=*/true);
  }

  at::Device gpu_ = at::Device(at::kCPU);
  TemporaryFolder folder_;
  std::unique_ptr<Communicator> self_ = make_self_communicator();
  Log log_{1};
};

// A function's result and the gradients of its weighted sum by all inputs, computed in one type on one device.
std::vector<at::Tensor> with_gradients(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& function,
                                       const std::vector<at::Tensor>& inputs, at::Device device, at::ScalarType first) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) {
    const at::ScalarType type = first == at::kDouble ? at::kDouble : (leaves.empty() ? first : at::kFloat);
    leaves.push_back(input.to(at::TensorOptions().device(device).dtype(type)).detach().requires_grad_());
  }
  const at::Tensor output = function(leaves);
  const at::Tensor slope =
      at::linspace(-1, 1, output.numel(), output.options().dtype(at::kDouble)).view(output.sizes());
  std::vector<at::Tensor> results = torch::autograd::grad({(output.to(at::kDouble) * slope).sum()}, leaves);
  results.insert(results.begin(), output.detach());
  return results;
}

void expect_near(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected, double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_LE(relative_error(found[i].cpu().to(at::kDouble), expected[i]), tolerance) << i;
  }
}

TEST_F(GpuTest, GroupNormAndSilu) {
  for (const auto& [channels, groups, height, width] :
       {std::tuple(320, 32, 16, 16), std::tuple(24, 4, 5, 7), std::tuple(15, 5, 9, 3), std::tuple(64, 32, 64, 64)}) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const std::vector<at::Tensor> inputs = {at::randn({3, channels, height, width}).to(type).to(at::kFloat),
                                              at::randn({3, channels}), at::randn({channels}), at::randn({channels})};
      const auto both = [groups = groups](const std::vector<at::Tensor>& in) {
        return group_norm_silu(in[0], in[1], in[2], in[3], groups, 1e-5);
      };
      const double tolerance = type == at::kFloat ? float_tolerance : bfloat16_tolerance;
      expect_near(with_gradients(both, inputs, gpu_, type), with_gradients(both, inputs, at::kCPU, at::kDouble),
                  tolerance);
      const auto alone = [groups = groups](const std::vector<at::Tensor>& in) {
        return group_norm(in[0].contiguous(at::MemoryFormat::ChannelsLast), in[1], in[2], groups, 1e-5);
      };
      const std::vector<at::Tensor> unshifted = {inputs[0], inputs[2], inputs[3]};
      expect_near(with_gradients(alone, unshifted, gpu_, type), with_gradients(alone, unshifted, at::kCPU, at::kDouble),
                  tolerance);
    }
  }
}

TEST_F(GpuTest, Geglu) {
  for (const std::int64_t columns : {1280, 12, 7}) {
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      const std::vector<at::Tensor> inputs = {at::randn({2, 33, 2 * columns}).to(type).to(at::kFloat)};
      const auto function = [](const std::vector<at::Tensor>& in) { return geglu(in[0]); };
      expect_near(with_gradients(function, inputs, gpu_, type), with_gradients(function, inputs, at::kCPU, at::kDouble),
                  type == at::kFloat ? float_tolerance : bfloat16_tolerance);
    }
  }
}

TEST_F(GpuTest, UNetsOutputAndEveryGradientAreDiffusers) {
  for (const char* name : {"unet_1", "unet_2", "unet_levels", "unet_unconditional", "unet_plain_mid", "unet_no_mid"}) {
    const auto folder = fixture(name);
    const auto expected = read_tensors(folder / "case.safetensors");
    const auto input = [&](const char* key) {
      return expected.contains(key) ? expected.at(key).to(gpu_) : at::Tensor();
    };
    UNet2DConditionModel unet(UNetConfig::from_json(read_json(folder / "config.json"), "config.json"));
    load_weights({folder / "weights.safetensors"}, unet);
    unet.to(gpu_);
    const at::Tensor output = unet.forward(input("sample"), input("timesteps"), input("text"));
    EXPECT_LE(relative_error(output.cpu(), expected.at("output")), float_tolerance) << name;
    at::mse_loss(output, input("target")).backward();
    for (const auto& item : unet.named_parameters()) {
      EXPECT_LE(relative_error(item.value().grad().cpu(), expected.at("gradient." + item.key())), 10 * float_tolerance)
          << name << " " << item.key();
    }
  }
}

TEST_F(GpuTest, TrainingFollowsTheCpus) {
  write_tiny_shard(folder_.path() / "shard.h5", "squares", 48);
  const auto images = tiny_images(folder_.path() / "shard.h5");
  const auto curve = [&](at::Device device, const std::string& name, const std::string& precision) {
    DiffusionModel model = tiny_model();
    model.to(device);
    TrainConfig config = tiny_training();
    config.precision = precision;
    Trainer trainer(model, images, {}, tiny_job(folder_.path(), name, config), *self_, log_);
    trainer.run();
    std::vector<double> losses;
    for (const LossPoint& point : trainer.clock().curve) {
      losses.push_back(point.loss);
    }
    return losses;
  };
  const std::vector<double> expected = curve(at::kCPU, "cpu", "fp32");
  EXPECT_THAT(curve(gpu_, "gpu", "fp32"), testing::Pointwise(testing::DoubleNear(2e-3), expected));
  EXPECT_THAT(curve(gpu_, "narrow", "bf16"), testing::Pointwise(testing::DoubleNear(3e-2), expected));
}

TEST_F(GpuTest, AResumedTrainingHasTheBitsOfAnUninterruptedOne) {
  write_tiny_shard(folder_.path() / "shard.h5", "squares", 48);
  const auto images = tiny_images(folder_.path() / "shard.h5");
  const auto train = [&](const std::string& name, std::uint64_t count) {
    DiffusionModel model = tiny_model();
    model.to(gpu_);
    TrainConfig config = tiny_training();
    config.precision = "bf16";
    config.lr_schedule = "constant";
    config.images = count;
    Trainer trainer(model, images, {}, tiny_job(folder_.path(), name, config), *self_, log_);
    trainer.run();
    std::vector<at::Tensor> flat;
    for (const at::Tensor& parameter : model.unet->parameters()) {
      flat.push_back(parameter.detach().flatten().cpu());
    }
    return at::cat(flat);
  };
  const at::Tensor whole = train("whole", 256);
  train("parts", 128);
  EXPECT_TRUE(at::equal(train("parts", 256), whole));
}

#ifdef SOUP_CUDA
TEST_F(GpuTest, AStepWaitsForNothing) {
  write_tiny_shard(folder_.path() / "shard.h5", "squares", 48);
  DiffusionModel model = tiny_model();
  model.to(gpu_);
  TrainConfig config = tiny_training();
  config.precision = "bf16";
  TrainingStep step(model, config, *self_);
  Batch batch =
      BatchMaker(tiny_images(folder_.path() / "shard.h5"), config, SeedTree(7), "squares", model).make(0, config.batch);
  batch.pin();
  step.apply(step.accumulate(batch), 0);  // libraries are set up by the first
  c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_ERROR);
  StepResult result;
  EXPECT_NO_THROW({
    result = step.accumulate(batch);
    step.apply(result, 16);
  });
  EXPECT_ANY_THROW(result.loss.item<double>()) << "else waiting would go unnoticed";
  c10::cuda::warning_state().set_sync_debug_mode(c10::cuda::SyncDebugMode::L_DISABLED);
}
#endif

TEST_F(GpuTest, SamplesAndDecodesAsTheCpu) {
  const auto folder = fixture("stable_diffusion/model");
  DiffusionModel model = load_model(folder);
  const std::int64_t side = model.config.unet.sample_size * model.autoencoder->factor();
  const InitialNoise noise = sample_noise(model, SeedTree(3), 0, 2, side, side);
  SampleOptions options;
  options.sampler.steps = 5;
  for (const char* sampler : {"ddim", "euler_a", "dpmpp_2m"}) {
    options.sampler.sampler = sampler;
    model.to(at::kCPU);
    const at::Tensor expected = sample_latents(model, {"a red bicycle", "two cats"}, noise, options);
    const at::Tensor pixels = model.autoencoder->decode(expected);
    model.to(gpu_);
    const at::Tensor found = sample_latents(model, {"a red bicycle", "two cats"}, noise, options);
    EXPECT_TRUE(found.is_cuda());
    EXPECT_LE(relative_error(found.cpu(), expected), 10 * float_tolerance) << sampler;
    EXPECT_LE(relative_error(model.autoencoder->decode(expected.to(gpu_)).cpu(), pixels), 10 * float_tolerance);
    EXPECT_EQ(decode_images(model, found).size(), 2U);
  }
}

TEST_F(GpuTest, EncodesAsTheCpu) {
  const at::NoGradGuard no_grad;
  DiffusionModel model = load_model(fixture("stable_diffusion/model"));
  const std::int64_t side = model.config.unet.sample_size * model.autoencoder->factor();
  const at::Tensor images = at::rand({2, 3, side, side}) * 2.0 - 1.0;
  const std::string autoencoder = autoencoder_digest(model);
  const at::Tensor moments = model.autoencoder->encode(images);
  const at::Tensor states = model.encode_text({"a red bicycle", ""});
  model.to(gpu_);
  EXPECT_EQ(autoencoder_digest(model), autoencoder);
  EXPECT_LE(relative_error(model.autoencoder->encode(images.to(gpu_)).cpu(), moments), 10 * float_tolerance);
  EXPECT_LE(relative_error(model.encode_text({"a red bicycle", ""}).cpu(), states), 10 * float_tolerance);
}

}  // namespace
}  // namespace soup::test
