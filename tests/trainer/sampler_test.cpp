// DDIM against diffusers' DDIMScheduler at every step, and the sampler's bookkeeping.
#include "trainer/sampler.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "core/error.hpp"
#include "tests/trainer/fixture.hpp"
#include "tests/trainer/tiny.hpp"

namespace soup::test {
namespace {

struct Trajectory {
  std::string beta_schedule;
  std::string prediction;
  std::int64_t steps;
};

class DdimParity : public testing::TestWithParam<Trajectory> {};

TEST_P(DdimParity, SampleAtEveryStep) {
  const auto tensors = read_tensors(fixture("schedule/schedules.safetensors"));
  const Trajectory& expected = GetParam();
  ScheduleConfig config;
  config.beta_schedule = expected.beta_schedule;
  config.prediction_type = expected.prediction;
  if (expected.beta_schedule == "scaled_linear") {
    config.beta_start = 0.00085;
    config.beta_end = 0.012;
  }
  const std::string key = expected.beta_schedule + "." + expected.prediction + "." + std::to_string(expected.steps);
  const at::Tensor& samples = tensors.at(key + ".samples");
  SampleOptions options;
  options.steps = expected.steps;
  options.guidance = expected.steps == 7 ? 1.0 : 3.0;
  // What make_fixtures.py uses: a formula of sample, timestep and text.
  std::vector<at::Tensor> seen;
  const Denoiser formula = [&](const at::Tensor& latents, std::int64_t timestep, const at::Tensor& text) {
    seen.push_back(latents.narrow(0, latents.size(0) - 2, 2).clone());
    return latents * (0.25 + 0.5 * static_cast<double>(timestep) / 1000.0) + text.view({-1, 1, 1, 1});
  };
  const at::Tensor text = at::tensor({0.5F, -0.25F}).view({2, 1, 1});
  const at::Tensor result = ddim(formula, NoiseSchedule(config), samples[0], text, at::full({1, 1, 1}, 0.125), options);
  seen.push_back(result);
  ASSERT_EQ(static_cast<std::int64_t>(seen.size()), samples.size(0));
  for (std::size_t step = 0; step < seen.size(); ++step) {
    // diffusers takes the square roots in float32, which near alpha-bar 0 costs it some 1e-6 a step.
    EXPECT_LE(relative_error(seen[step], samples[static_cast<std::int64_t>(step)]), 1e-4) << key << " step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Schedules, DdimParity,
                         testing::Values(Trajectory{"linear", "epsilon", 7}, Trajectory{"linear", "v_prediction", 25},
                                         Trajectory{"scaled_linear", "epsilon", 25},
                                         Trajectory{"scaled_linear", "v_prediction", 7},
                                         Trajectory{"squaredcos_cap_v2", "epsilon", 25},
                                         Trajectory{"squaredcos_cap_v2", "v_prediction", 25}));

TEST(Sampler, NoiseOfAPromptDependsOnItsCounterOnly) {
  const DiffusionModel model = tiny_model();
  const at::Tensor all = sample_noise(model, SeedTree(3), 10, 4, 8);
  EXPECT_EQ(all.sizes(), (std::vector<std::int64_t>{4, 3, 8, 8}));
  EXPECT_TRUE(at::equal(all.narrow(0, 2, 2), sample_noise(model, SeedTree(3), 12, 2, 8)));
  EXPECT_FALSE(at::equal(all[0], all[1]));
  EXPECT_FALSE(at::equal(all, sample_noise(model, SeedTree(4), 10, 4, 8)));
  EXPECT_THROW(sample_noise(model, SeedTree(3), 0, 1, 0), ConfigError);
}

TEST(Sampler, BatchesChangeNothing) {
  const DiffusionModel model = tiny_model();
  const std::vector<std::string> prompts = {"red", "green", "blue", "a square", ""};
  const at::Tensor noise = sample_noise(model, SeedTree(5), 0, 5, 8);
  SampleOptions options;
  options.steps = 3;
  options.batch = 5;
  const std::vector<Image> whole = sample_images(model, prompts, noise, options);
  options.batch = 2;
  const std::vector<Image> parts = sample_images(model, prompts, noise, options);
  ASSERT_EQ(whole.size(), 5U);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    ASSERT_EQ(whole[i].pixels.size(), 8U * 8U * 3U);
    for (std::size_t j = 0; j < whole[i].pixels.size(); ++j) {
      // Another batch size may sum in another order: a rounding at .5 may flip.
      EXPECT_LE(std::abs(whole[i].pixels[j] - parts[i].pixels[j]), 1) << i << " " << j;
    }
  }
}

TEST(Sampler, WithoutGuidanceTheEmptyTextIsNotUsed) {
  std::vector<std::int64_t> sizes;
  const Denoiser denoiser = [&sizes](const at::Tensor& latents, std::int64_t, const at::Tensor& text) {
    EXPECT_EQ(latents.size(0), text.size(0));
    sizes.push_back(latents.size(0));
    return at::zeros_like(latents);
  };
  SampleOptions options;
  options.steps = 1;
  options.guidance = 1.0;
  const NoiseSchedule schedule{ScheduleConfig()};
  const at::Tensor noise = at::ones({3, 1, 2, 2});
  ddim(denoiser, schedule, noise, at::zeros({3, 1, 1}), at::zeros({3, 1, 1}), options);
  options.guidance = 2.0;
  ddim(denoiser, schedule, noise, at::zeros({3, 1, 1}), at::zeros({3, 1, 1}), options);
  EXPECT_EQ(sizes, (std::vector<std::int64_t>{3, 6}));
  EXPECT_THROW(ddim(denoiser, schedule, noise, at::zeros({2, 1, 1}), at::zeros({1, 1, 1}), options), InvariantError);
  options.batch = 0;
  EXPECT_THROW(ddim(denoiser, schedule, noise, at::zeros({3, 1, 1}), at::zeros({1, 1, 1}), options), ConfigError);
}

TEST(Sampler, ImagesAndTensorsAreInverse) {
  Image image{2, 3, 3, {}};
  for (int i = 0; i < 18; ++i) {
    image.pixels.push_back(static_cast<std::uint8_t>(i * 15));
  }
  Image other = image;
  std::ranges::reverse(other.pixels);
  const at::Tensor pixels = to_tensor({image, other});
  EXPECT_EQ(pixels.sizes(), (std::vector<std::int64_t>{2, 3, 2, 3}));
  EXPECT_EQ(pixels[0][0][0][0].item<float>(), -1.0F);
  EXPECT_EQ(pixels[0][2][1][2].item<float>(), 1.0F);  // 17 * 15 = 255
  const std::vector<Image> back = to_images(pixels);
  EXPECT_EQ(back[0].pixels, image.pixels);
  EXPECT_EQ(back[1].pixels, other.pixels);
  EXPECT_EQ(to_images(pixels * 3.0)[0].pixels[17], 255);  // clamped
  other.width = 2;
  EXPECT_THROW(to_tensor({image, other}), InvariantError);
  EXPECT_EQ(to_tensor({}).size(0), 0);
}

}  // namespace
}  // namespace soup::test
