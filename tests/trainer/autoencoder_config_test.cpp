// AutoencoderKL's config.json: what diffusers writes is read, what is not implemented is refused by name.
#include "trainer/autoencoder_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "tests/trainer/config_fixture.hpp"

namespace soup {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(AutoencoderKLConfig, WritesExactlyWhatDiffusersWrites) {
  for (const char* name : {"vae", "vae_plain"}) {
    const json written = test::config_fixture(name);
    EXPECT_EQ(AutoencoderKLConfig::from_json(written, name).to_json(), written);
  }
}

TEST(AutoencoderKLConfig, AbsentKeysMeanTheDefaultsOfDiffusers) {
  const AutoencoderKLConfig config = AutoencoderKLConfig::from_json(json::object(), "x");
  EXPECT_EQ(config.block_out_channels, (std::vector<std::int64_t>{64}));
  EXPECT_EQ(config.factor(), 1);
  EXPECT_EQ(config.scaling_factor, 0.18215);
}

// vae/config.json of Stable Diffusion 1.5, as published (that of 2.1 has one key more), is the configuration without
// changes.
TEST(AutoencoderKLConfig, StableDiffusionsOwnFilesAreRead) {
  json config = json::parse(R"({
    "_class_name": "AutoencoderKL", "_diffusers_version": "0.6.0", "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
    "in_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "out_channels": 3,
    "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]})");
  EXPECT_EQ(AutoencoderKLConfig::from_json(config, "x").to_json(), AutoencoderKLConfig().to_json());
  EXPECT_EQ(AutoencoderKLConfig().factor(), 8);
  config["_name_or_path"] = "hf-models/stable-diffusion-v2-768x768/vae";
  config["sample_size"] = 768;
  config["scaling_factor"] = 0.18215;
  EXPECT_EQ(AutoencoderKLConfig::from_json(config, "x").sample_size, 768);
}

TEST(AutoencoderKLConfig, WhatIsNotImplementedIsRefusedByName) {
  const std::pair<const char*, json> changes[] = {
      {"_class_name", "AutoencoderTiny"},
      {"act_fn", "gelu"},
      {"down_block_types", {"DownEncoderBlock2D", "DownEncoderBlock2D", "AttnDownEncoderBlock2D"}},
      {"down_block_types", {"DownEncoderBlock2D", "DownEncoderBlock2D"}},
      {"up_block_types", {"UpDecoderBlock2D", "UpDecoderBlock2D", "AttnUpDecoderBlock2D"}},
      {"block_out_channels", {4, 7, 8}},
      {"block_out_channels", nullptr},
      {"norm_num_groups", nullptr},
      {"norm_num_groups", 0},
      {"layers_per_block", 0},
      {"layers_per_block", 65},
      {"block_out_channels", {4, 4, std::int64_t{1} << 40}},
      {"latent_channels", -4},
      {"in_channels", 4},
      {"sample_size", {24, 24}},
      {"scaling_factor", 0.0},
      {"scaling_factor", nullptr},
      {"shift_factor", 0.1},
      {"latents_mean", {0.0, 0.0, 0.0, 0.0}},
      {"latents_std", {1.0, 1.0, 1.0, 1.0}},
      {"use_quant_conv", 1},
      {"invented_key", 1}};
  for (const auto& [key, value] : changes) {
    json config = test::config_fixture("vae");
    config[key] = value;
    EXPECT_THAT(test::refusal_of<AutoencoderKLConfig>(config), HasSubstr("folder/config.json")) << key;
    EXPECT_THAT(test::refusal_of<AutoencoderKLConfig>(config), HasSubstr(key)) << value;
  }
  AutoencoderKLConfig none;
  none.block_out_channels.clear();
  EXPECT_THAT(none.problem(), HasSubstr("block_out_channels"));
  EXPECT_EQ(AutoencoderKLConfig().problem(), "");
}

}  // namespace
}  // namespace soup
