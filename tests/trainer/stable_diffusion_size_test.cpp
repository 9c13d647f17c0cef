// The networks of Stable Diffusion's published configurations have as many parameters as the published weights.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "trainer/autoencoder_kl.hpp"
#include "trainer/clip_text.hpp"
#include "trainer/unet.hpp"

namespace soup {
namespace {

// The memory is asked for, but never touched: nothing of it becomes resident.
std::int64_t count(const torch::nn::Module& module) {
  std::int64_t values = 0;
  for (const at::Tensor& parameter : module.parameters()) {
    values += parameter.numel();
  }
  return values;
}

UNetConfig unet_config(std::int64_t text_width) {
  UNetConfig config = UNetConfig::from_json(nlohmann::json::object(), "the defaults of diffusers");
  config.cross_attention_dim = text_width;
  return config;
}

TEST(StableDiffusionSize, UNet1) {
  EXPECT_EQ(count(UNet2DConditionModel(unet_config(768))), 859'520'964);
}

TEST(StableDiffusionSize, UNet2) {
  UNetConfig config = unet_config(1024);
  config.attention_head_dims = {5, 10, 20, 20};
  config.use_linear_projection = true;
  EXPECT_EQ(count(UNet2DConditionModel(config)), 865'910'724);
}

TEST(StableDiffusionSize, Autoencoder) {
  EXPECT_EQ(count(AutoencoderKL(AutoencoderKLConfig())), 83'653'863);
}

TEST(StableDiffusionSize, TextEncoder1) {
  TextEncoderConfig config = TextEncoderConfig::from_json(nlohmann::json::object(), "the defaults of transformers");
  config.hidden_size = 768;
  config.intermediate_size = 3072;
  config.num_attention_heads = 12;
  EXPECT_EQ(count(CLIPTextModel(config)), 123'060'480);
}

TEST(StableDiffusionSize, TextEncoder2) {
  TextEncoderConfig config = TextEncoderConfig::from_json(nlohmann::json::object(), "the defaults of transformers");
  config.hidden_size = 1024;
  config.intermediate_size = 4096;
  config.num_attention_heads = 16;
  config.num_hidden_layers = 23;
  EXPECT_EQ(count(CLIPTextModel(config)), 340'387'840);
}

}  // namespace
}  // namespace soup
