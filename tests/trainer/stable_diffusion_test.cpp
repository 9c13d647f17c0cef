// A whole small Stable Diffusion that Python's diffusers wrote: its images from the same noise, and single files.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/fixture.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/pixels.hpp"
#include "trainer/sampler.hpp"
#include "trainer/single_file.hpp"

namespace soup::test {
namespace {

using testing::HasSubstr;

class StableDiffusion : public testing::Test {
 protected:
  std::filesystem::path folder_ = fixture("stable_diffusion/model");
  TemporaryFolder work_;

  static std::vector<at::Tensor> weights(const DiffusionModel& model) {
    std::vector<at::Tensor> all;
    const auto add = [&all](const torch::nn::Module& module) {
      for (const at::Tensor& parameter : module.parameters()) {
        all.push_back(parameter);
      }
    };
    add(*model.unet);
    add(*model.text_encoder);
    add(*model.autoencoder->network());
    return all;
  }

  // The error of reading a file like the folder's with these tensors.
  std::string refusal(const std::map<std::string, at::Tensor>& tensors) const {
    write_tensors(work_.path() / "changed.safetensors", tensors);
    try {
      (void)load_single_file(work_.path() / "changed.safetensors", folder_);
    } catch (const DataError& error) {
      return error.what();
    }
    return "nothing";
  }
};

TEST_F(StableDiffusion, MakesTheImagesThatDiffusersMakes) {
  const auto expected = read_tensors(fixture("stable_diffusion/samples.safetensors"));
  const auto captions = read_json(fixture("captions.json")).get<std::vector<std::string>>();
  const DiffusionModel model = load_model(folder_);
  SampleOptions options;
  options.guidance = 4.0;
  options.guidance_rescale = 0.5;
  options.negative_prompt = "trash can";
  const std::pair<const char*, SamplerChoice> samplers[] = {
      {"ddim", {.sampler = "ddim", .steps = 8}},
      {"euler", {.sampler = "euler", .steps = 8}},
      {"dpmpp_2m_karras", {.sampler = "dpmpp_2m", .steps = 8, .karras = true}}};
  for (const auto& [name, sampler] : samplers) {
    options.sampler = sampler;
    const at::Tensor latents =
        sample_latents(model, {captions[0], captions[1]}, {.noise = expected.at("noise")}, options);
    EXPECT_LE(relative_error(latents, expected.at(name)), 1e-4) << name;
  }
  const at::NoGradGuard no_grad;
  EXPECT_LE(relative_error(model.autoencoder->decode(expected.at("ddim")), expected.at("images")), 1e-4);
  const std::vector<Image> images = decode_images(model, expected.at("ddim"));
  EXPECT_EQ(images[1].pixels, to_images(expected.at("images"))[1].pixels);
}

TEST_F(StableDiffusion, ASingleFileHoldsTheSameWeights) {
  const DiffusionModel model = load_model(folder_);
  save_single_file(work_.path() / "whole.safetensors", model, DType::f32, {});
  const DiffusionModel read = load_single_file(work_.path() / "whole.safetensors", folder_);
  const std::vector<at::Tensor> ours = weights(model);
  const std::vector<at::Tensor> theirs = weights(read);
  ASSERT_EQ(ours.size(), theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_TRUE(at::equal(ours[i], theirs[i])) << i;
  }
  // Query, key and value of each of the text encoder's two layers, weights and biases, are one tensor.
  const SafetensorsFile file(work_.path() / "whole.safetensors");
  EXPECT_EQ(file.tensors().size(), ours.size() - 2 * 2 * 2);
  EXPECT_EQ(file.metadata().at("modelspec.prediction_type"), "v");

  DiffusionModel of_images = load_model(folder_);
  of_images.config.schedule.prediction_type = "sample";
  save_single_file(work_.path() / "images.safetensors", of_images, DType::f32, {});
  EXPECT_FALSE(SafetensorsFile(work_.path() / "images.safetensors").metadata().contains("modelspec.prediction_type"));

  for (const DType dtype : {DType::f16, DType::bf16}) {
    save_single_file(work_.path() / "half.safetensors", model, dtype, {});
    EXPECT_LT(std::filesystem::file_size(work_.path() / "half.safetensors"),
              std::filesystem::file_size(work_.path() / "whole.safetensors") * 6 / 10);
    const std::vector<at::Tensor> rounded = weights(load_single_file(work_.path() / "half.safetensors", folder_));
    for (std::size_t i = 0; i < ours.size(); ++i) {
      EXPECT_TRUE(at::allclose(rounded[i], ours[i], 0.005, 1e-6)) << i;
    }
  }
}

TEST_F(StableDiffusion, ASingleFileThatDoesNotFitIsRefusedByName) {
  const DiffusionModel model = load_model(folder_);
  save_single_file(work_.path() / "whole.safetensors", model, DType::f32, {});
  const auto whole = read_tensors(work_.path() / "whole.safetensors");
  const std::string weight = "model.diffusion_model.out.2.weight";
  auto changed = whole;
  changed["alphas_cumprod"] = at::zeros({1000});
  changed["model_ema.decay"] = at::zeros({1});
  EXPECT_EQ(refusal(changed), "nothing") << "what original files hold beside the weights";
  changed.erase(weight);
  EXPECT_THAT(refusal(changed), HasSubstr(weight + " is missing (unet.conv_out.weight)"));
  changed = whole;
  changed["model.diffusion_model.label_emb.0.0.weight"] = at::zeros({2});
  EXPECT_THAT(refusal(changed), HasSubstr("label_emb.0.0.weight is not a tensor of these networks"));
  changed = whole;
  changed[weight] = at::zeros({4, 8, 3, 1});
  EXPECT_THAT(refusal(changed), HasSubstr(weight + " has shape [4, 8, 3, 1]"));
  changed = whole;
  changed["first_stage_model.encoder.mid.attn_1.q.weight"] = at::zeros({8, 8});
  EXPECT_EQ(refusal(changed), "nothing") << "a matrix where others keep a convolution";
  changed = whole;
  changed[weight] = whole.at(weight) / 0.0;
  EXPECT_THAT(refusal(changed), HasSubstr(weight + " holds NaN or Inf"));
}

TEST_F(StableDiffusion, WhatCannotBeASingleFileIsRefused) {
  EXPECT_THROW(save_single_file(work_.path() / "x.safetensors", tiny_model(), DType::f16, {}), ConfigError);
  const DiffusionModel model = load_model(folder_);
  {
    const at::NoGradGuard no_grad;
    model.unet->parameters().front().fill_(1e6);
  }
  EXPECT_THROW(save_single_file(work_.path() / "x.safetensors", model, DType::f16, {}), DataError);
  EXPECT_FALSE(std::filesystem::exists(work_.path() / "x.safetensors"));
  save_single_file(work_.path() / "x.safetensors", model, DType::bf16, {});
}

}  // namespace
}  // namespace soup::test
