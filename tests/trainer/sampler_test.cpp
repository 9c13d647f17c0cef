// The samplers against diffusers' schedulers at every step, and their bookkeeping.
#include "trainer/sampler.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>

#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/fixture.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/noise_file.hpp"
#include "trainer/pixels.hpp"
#include "trainer/tensor_file.hpp"

namespace soup::test {
namespace {

using testing::HasSubstr;

// tests/fixtures/parity/schedule: trajectories of diffusers' schedulers, one for each entry of cases.json.
class SamplerParity : public testing::TestWithParam<std::size_t> {
 protected:
  static const nlohmann::json& cases() {
    static const nlohmann::json all = read_json(fixture("schedule/cases.json"));
    return all;
  }
  static const std::map<std::string, at::Tensor>& tensors() {
    static const std::map<std::string, at::Tensor> all = read_tensors(fixture("schedule/schedules.safetensors"));
    return all;
  }
  const nlohmann::json& expected_ = cases().at(GetParam());
  const at::Tensor& tensor(const std::string& name) const {
    return tensors().at(std::to_string(GetParam()) + "." + name);
  }
  NoiseSchedule schedule() const {
    ScheduleConfig config;
    config.beta_schedule = expected_["beta_schedule"];
    config.prediction_type = expected_["prediction_type"];
    config.rescale_betas_zero_snr = expected_["zero_snr"];
    config.timestep_spacing = expected_["spacing"];
    config.set_alpha_to_one = expected_["alpha_to_one"];
    if (config.beta_schedule == "scaled_linear") {
      config.beta_start = 0.00085;
      config.beta_end = 0.012;
    }
    return NoiseSchedule(config);
  }
};

TEST_P(SamplerParity, TimestepAndSampleAtEveryStep) {
  SampleOptions options;
  options.sampler = {.sampler = expected_["sampler"], .steps = expected_["steps"], .karras = expected_["karras"]};
  options.guidance = expected_["guidance"];
  options.guidance_rescale = expected_["guidance_rescale"];
  const SamplingPlan plan = make_sampling_plan(schedule(), options.sampler);
  InitialNoise initial{.noise = tensor("noise")};
  if (options.sampler.sampler == "euler_a") {
    initial.step_noise = [this](std::size_t step, std::int64_t, std::int64_t) {
      return tensor("step_noise")[static_cast<std::int64_t>(step)];
    };
  }
  // What make_fixtures.py uses: a formula of sample, timestep and text.
  std::vector<double> timesteps;
  std::vector<at::Tensor> seen;
  const Denoiser formula = [&](const at::Tensor& latents, double timestep, const at::Tensor& text) {
    timesteps.push_back(timestep);
    seen.push_back(latents.narrow(0, latents.size(0) - 2, 2) / plan.steps.at(seen.size()).input_scale);
    return at::sin(latents * (0.25 + 0.5 * timestep / 1000.0) + text.view({-1, 1, 1, 1}));
  };
  const at::Tensor text = at::tensor({0.5F, -0.25F}).view({2, 1, 1});
  seen.push_back(sample_latents(formula, schedule(), initial, text, at::full({1, 1, 1}, 0.125), options));
  seen.erase(seen.begin());  // the noise itself
  const at::Tensor& samples = tensor("samples");
  ASSERT_EQ(static_cast<std::int64_t>(seen.size()), samples.size(0));
  for (std::size_t step = 0; step < seen.size(); ++step) {
    const auto row = static_cast<std::int64_t>(step);
    EXPECT_NEAR(timesteps[step], tensor("timesteps")[row].item<double>(), 0.01) << expected_ << " step " << step;
    // diffusers computes its factors in float32, which near alpha-bar 0 costs it some 1e-6 a step.
    EXPECT_LE(relative_error(seen[step], samples[row]), 1e-4) << expected_ << " step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Schedulers, SamplerParity,
                         testing::Range<std::size_t>(0, read_json(fixture("schedule/cases.json")).size()));

TEST(SamplingPlan, AnUntoldImageTakesNoStep) {
  // A network that always predicts the same image: every sampler ends on it, whatever its path.
  ScheduleConfig config;
  config.prediction_type = "sample";
  config.set_alpha_to_one = true;
  const at::Tensor image = at::linspace(-1.0, 1.0, 12).view({1, 3, 2, 2});
  for (const std::string_view sampler : {"ddim", "euler", "dpmpp_2m"}) {
    SampleOptions options;
    options.sampler = {.sampler = std::string(sampler), .steps = 9};
    options.guidance = 1.0;
    const at::Tensor made = sample_latents([&](const auto&, double, const auto&) { return image; },
                                           NoiseSchedule(config), {.noise = at::ones({1, 3, 2, 2})}, {}, {}, options);
    EXPECT_LE((made - image).abs().max().item<double>(), 1e-6) << sampler;
  }
}

TEST(SamplingPlan, TheFullScheduleStaysInRange) {
  const NoiseSchedule schedule{ScheduleConfig()};
  SamplerChoice choice;
  choice.steps = 1000;
  const SamplingPlan all = make_sampling_plan(schedule, choice);
  EXPECT_EQ(all.steps.front().timestep, 999.0);
  EXPECT_EQ(all.steps.back().timestep, 1.0);
  ScheduleConfig silent;
  silent.timestep_spacing = "";
  const NoiseSchedule own{silent};
  EXPECT_EQ(make_sampling_plan(own, {.steps = 4}).steps.front().timestep, 751.0) << "leading";
  EXPECT_EQ(make_sampling_plan(own, {.sampler = "euler", .steps = 4}).steps.front().timestep, 999.0) << "linspace";
  choice.spacing = "trailing";
  EXPECT_EQ(make_sampling_plan(schedule, choice).steps.back().timestep, 0.0);
}

TEST(SamplingPlan, ImpossibleRequestsAreRefusedByName) {
  const NoiseSchedule schedule{ScheduleConfig()};
  const auto refusal = [&schedule](const SamplerChoice& choice) -> std::string {
    try {
      (void)make_sampling_plan(schedule, choice);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing";
  };
  EXPECT_THAT(refusal({.steps = 0}), testing::HasSubstr("0 sampling steps"));
  EXPECT_THAT(refusal({.steps = 1001}), testing::HasSubstr("1001 sampling steps"));
  EXPECT_THAT(refusal({.sampler = "dpmpp_2m", .steps = 1000}), testing::HasSubstr("has 999"));
  EXPECT_THAT(refusal({.sampler = "dpmpp_2n"}), testing::HasSubstr("did you mean dpmpp_2m"));
  EXPECT_THAT(refusal({.spacing = "late"}), testing::HasSubstr("\"late\""));
  EXPECT_THAT(refusal({.sampler = "ddim", .karras = true}), testing::HasSubstr("not ddim"));
}

TEST(Sampler, NoiseOfAPromptDependsOnItsCounterOnly) {
  const DiffusionModel model = tiny_model();
  const auto noise = [&model](std::uint64_t seed, std::uint64_t first, std::int64_t count) {
    return sample_noise(model, SeedTree(seed), first, count, 8, 8);
  };
  const at::Tensor all = noise(3, 10, 4).noise;
  EXPECT_EQ(all.sizes(), (std::vector<std::int64_t>{4, 3, 8, 8}));
  EXPECT_TRUE(at::equal(all.narrow(0, 2, 2), noise(3, 12, 2).noise));
  EXPECT_TRUE(at::equal(noise(3, 10, 4).step_noise(5, 2, 2), noise(3, 12, 2).step_noise(5, 0, 2)));
  EXPECT_FALSE(at::equal(noise(3, 10, 4).step_noise(5, 2, 2), noise(3, 12, 2).step_noise(6, 0, 2)));
  EXPECT_FALSE(at::equal(all[0], all[1]));
  EXPECT_FALSE(at::equal(all, noise(4, 10, 4).noise));
  EXPECT_EQ(sample_noise(model, SeedTree(3), 0, 1, 8, 16).noise.sizes(), (std::vector<std::int64_t>{1, 3, 8, 16}));
  EXPECT_THROW(sample_noise(model, SeedTree(3), 0, 1, 0, 8), ConfigError);
}

// What read_noise() says of a file with these tensors, for one image.
std::string refused_noise(const std::map<std::string, at::Tensor>& tensors, const std::string& sampler = "euler_a") {
  const TemporaryFolder folder;
  const DiffusionModel model = tiny_model();
  write_tensors(folder.path() / "noise.safetensors", tensors);
  try {
    (void)read_noise(folder.path() / "noise.safetensors", 1, model, {.sampler = {.sampler = sampler, .steps = 2}});
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(NoiseFile, IsCheckedBeforeAnythingIsDrawn) {
  const at::Tensor noise = at::ones({1, 3, 8, 8});
  const at::Tensor steps = at::ones({2, 1, 3, 8, 8});
  EXPECT_EQ(refused_noise({{"noise", noise}, {"step_noise", steps}}), "accepted");
  EXPECT_EQ(refused_noise({{"noise", noise}}, "ddim"), "accepted");
  EXPECT_THAT(refused_noise({{"other", noise}}), HasSubstr("no float tensor `noise`"));
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{3, 8, 8}, {2, 3, 8, 8}, {1, 4, 8, 8}, {1, 3, 0, 8}}) {
    EXPECT_THAT(refused_noise({{"noise", at::ones(shape)}}), HasSubstr("need [1, 3, h, w]")) << at::IntArrayRef(shape);
  }
  EXPECT_THAT(refused_noise({{"noise", at::ones({1, 3, 8, 8}, at::kLong)}}), HasSubstr("`noise` holds integers"));
  EXPECT_THAT(refused_noise({{"noise", noise / 0.0}}), HasSubstr("`noise` holds NaN or Inf"));
  EXPECT_THAT(refused_noise({{"noise", noise}}), HasSubstr("no tensor `step_noise` [2, 1, 3, 8, 8]"));
  EXPECT_THAT(refused_noise({{"noise", noise}, {"step_noise", steps.narrow(0, 0, 1)}}), HasSubstr("`step_noise`"));
  EXPECT_THAT(refused_noise({{"noise", noise}, {"step_noise", steps / 0.0}}),
              HasSubstr("`step_noise` holds NaN or Inf"));
  EXPECT_THAT(refused_noise({{"noise", noise}, {"step_noise", steps.to(at::kLong)}}), HasSubstr("holds integers"));
}

TEST(Sampler, WhatIsNoNumberBecomesNoImage) {
  const Denoiser diverged = [](const at::Tensor& latents, double, const at::Tensor&) { return latents / 0.0; };
  const NoiseSchedule schedule{ScheduleConfig()};
  const InitialNoise noise{.noise = at::ones({1, 1, 2, 2})};
  SampleOptions options;
  options.sampler.steps = 2;
  options.guidance = 1.0;
  EXPECT_THROW(sample_latents(diverged, schedule, noise, {}, {}, options), DataError);
  options.guidance = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(sample_latents(diverged, schedule, noise, at::zeros({1, 1, 1}), at::zeros({1, 1, 1}), options),
               ConfigError);
}

TEST(Sampler, BatchesChangeNothing) {
  const DiffusionModel model = tiny_model();
  const std::vector<std::string> prompts = {"red", "green", "blue", "a square", ""};
  const InitialNoise noise = sample_noise(model, SeedTree(5), 0, 5, 8, 8);
  SampleOptions options;
  options.sampler.steps = 3;
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
  const Denoiser denoiser = [&sizes](const at::Tensor& latents, double, const at::Tensor& text) {
    EXPECT_EQ(latents.size(0), text.size(0));
    sizes.push_back(latents.size(0));
    return at::zeros_like(latents);
  };
  SampleOptions options;
  options.sampler.steps = 1;
  options.guidance = 1.0;
  const NoiseSchedule schedule{ScheduleConfig()};
  const InitialNoise noise{.noise = at::ones({3, 1, 2, 2})};
  sample_latents(denoiser, schedule, noise, at::zeros({3, 1, 1}), at::zeros({3, 1, 1}), options);
  options.guidance = 2.0;
  sample_latents(denoiser, schedule, noise, at::zeros({3, 1, 1}), at::zeros({3, 1, 1}), options);
  EXPECT_THROW(sample_latents(denoiser, schedule, noise, {}, {}, options), ConfigError);
  EXPECT_EQ(sizes, (std::vector<std::int64_t>{3, 6}));
  EXPECT_THROW(sample_latents(denoiser, schedule, noise, at::zeros({2, 1, 1}), at::zeros({1, 1, 1}), options),
               InvariantError);
  options.batch = 0;
  EXPECT_THROW(sample_latents(denoiser, schedule, noise, at::zeros({3, 1, 1}), at::zeros({1, 1, 1}), options),
               ConfigError);
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
