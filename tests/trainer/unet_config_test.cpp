// UNet2DConditionModel's config.json: what diffusers writes is read, what is not implemented is refused by name.
#include "trainer/unet_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "tests/trainer/config_fixture.hpp"

namespace soup {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(UNetConfig, WritesExactlyWhatDiffusersWrites) {
  for (const char* name : {"unet_1", "unet_2", "unet_levels", "unet_unconditional", "unet_plain_mid", "unet_no_mid"}) {
    const json written = test::config_fixture(name);
    EXPECT_EQ(UNetConfig::from_json(written, name).to_json(), written);
  }
}

TEST(UNetConfig, AbsentKeysMeanTheDefaultsOfDiffusers) {
  const UNetConfig unet = UNetConfig::from_json({{"_class_name", "UNet2DConditionModel"}}, "x");
  EXPECT_EQ(unet.in_channels, 4);
  EXPECT_EQ(unet.block_out_channels, (std::vector<std::int64_t>{320, 640, 1280, 1280}));
  EXPECT_EQ(unet.up_block_types[0], "UpBlock2D");
  EXPECT_EQ(unet.heads(3), 8);
  EXPECT_EQ(unet.cross_attention_dim, 1280);
  EXPECT_FALSE(unet.use_linear_projection);
  EXPECT_EQ(unet.mid_block_type, "UNetMidBlock2DCrossAttn");
  EXPECT_FALSE(unet.upcast_attention);
  EXPECT_TRUE(unet.takes_text());
}

TEST(UNetConfig, EveryOptionNotImplementedIsRefusedByName) {
  const std::pair<const char*, json> changes[] = {
      {"act_fn", "gelu"},
      {"addition_embed_type", "text"},
      {"attention_type", "gated"},
      {"class_embed_type", "timestep"},
      {"class_embeddings_concat", true},
      {"conv_in_kernel", 1},
      {"conv_out_kernel", 1},
      {"cross_attention_norm", "layer_norm"},
      {"downsample_padding", 0},
      {"dropout", 0.1},
      {"dual_cross_attention", true},
      {"encoder_hid_dim", 8},
      {"encoder_hid_dim_type", "text_proj"},
      {"mid_block_only_cross_attention", true},
      {"mid_block_scale_factor", 2},
      {"mid_block_type", "UNetMidBlock2DSimpleCrossAttn"},
      {"num_attention_heads", 4},
      {"num_class_embeds", 10},
      {"only_cross_attention", true},
      {"projection_class_embeddings_input_dim", 3},
      {"resnet_out_scale_factor", 2.0},
      {"resnet_skip_time_act", true},
      {"resnet_time_scale_shift", "scale_shift"},
      {"reverse_transformer_layers_per_block", {1, 1}},
      {"time_cond_proj_dim", 3},
      {"time_embedding_act_fn", "silu"},
      {"time_embedding_dim", 64},
      {"time_embedding_type", "fourier"},
      {"timestep_post_act", "silu"},
      {"_class_name", "UNet2DModel"},
      {"invented_key", 1},
      {"sample_size", {8, 8}},
      {"layers_per_block", "two"},
      {"layers_per_block", json::array()},
      {"transformer_layers_per_block", {{1, 2}, {1, 2}, {1, 2}}},
      {"cross_attention_dim", {6, 6, 6}},
      {"cross_attention_dim", {nullptr, nullptr}},
      {"cross_attention_dim", 0},
      {"freq_shift", 0.5},
      {"norm_num_groups", nullptr},
      {"in_channels", nullptr},
      {"norm_eps", "small"},
      {"use_linear_projection", 1},
      {"down_block_types", "DownBlock2D"},
  };
  for (const auto& [key, value] : changes) {
    json config = test::config_fixture("unet_1");
    config[key] = value;
    const std::string message = test::refusal_of<UNetConfig>(config);
    EXPECT_THAT(message, HasSubstr("folder/config.json")) << key;
    EXPECT_THAT(message, HasSubstr(key));
    EXPECT_THAT(message, HasSubstr(value.dump())) << key;
  }
}

TEST(UNetConfig, NumbersThatDoNotFitAreRefused) {
  const std::pair<const char*, json> changes[] = {
      {"block_out_channels", {4, 9, 8}},      // not a multiple of the groups
      {"block_out_channels", {4, 8}},         // one short
      {"block_out_channels", json::array()},  // none
      {"block_out_channels", {0, 8, 8}},
      {"attention_head_dim", 3},       // does not divide 4
      {"attention_head_dim", {2, 2}},  // one short
      {"attention_head_dim", 0},
      {"layers_per_block", {1, 2}},  // one short
      {"layers_per_block", {1, 0, 1}},
      {"transformer_layers_per_block", {1, 2, 3, 4}},
      {"cross_attention_dim", nullptr},  // but the blocks have cross-attention
      {"freq_shift", -1},
      {"freq_shift", 4},                                      // as many as there are frequencies
      {"block_out_channels", {4, 4, std::int64_t{1} << 40}},  // what would fill the memory before a weight is read
      {"layers_per_block", 100'000'000},
      {"layers_per_block", {1, 1, 65}},
      {"transformer_layers_per_block", 65},
      {"in_channels", std::numeric_limits<std::uint64_t>::max()},
      {"cross_attention_dim", std::int64_t{1} << 40},
      {"norm_num_groups", 0},
      {"norm_eps", 0.0},
      {"in_channels", -1},
      {"down_block_types", {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D"}},
      {"up_block_types", {"UpBlock2D", "UpBlock2D", "SkipUpBlock2D"}},
  };
  for (const auto& [key, value] : changes) {
    json config = test::config_fixture("unet_1");
    config[key] = value;
    EXPECT_THAT(test::refusal_of<UNetConfig>(config), HasSubstr(key)) << value;
  }
  UNetConfig odd;
  odd.block_out_channels = {45, 96, 128};
  odd.norm_num_groups = 1;
  odd.attention_head_dim = 1;
  EXPECT_THAT(odd.problem(), HasSubstr("must be even"));
  EXPECT_EQ(UNetConfig().problem(), "");
}

// unet/config.json of Stable Diffusion 1.5 and of 2.1, as published.
const json stable_diffusion_1 = json::parse(R"({
  "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "act_fn": "silu", "attention_head_dim": 8,
  "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false, "cross_attention_dim": 768,
  "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
  "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
  "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]})");
const json stable_diffusion_2 = json::parse(R"({
  "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.10.0.dev0", "act_fn": "silu",
  "attention_head_dim": [5, 10, 20, 20], "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false,
  "cross_attention_dim": 1024,
  "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
  "downsample_padding": 1, "dual_cross_attention": false, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4,
  "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32,
  "num_class_embeds": null, "only_cross_attention": false, "out_channels": 4, "sample_size": 96,
  "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
  "upcast_attention": true, "use_linear_projection": true})");

TEST(UNetConfig, StableDiffusionsOwnFilesAreRead) {
  const UNetConfig one = UNetConfig::from_json(stable_diffusion_1, "x");
  EXPECT_EQ(one.heads(0), 8);
  EXPECT_EQ(one.heads(3), 8);
  EXPECT_EQ(one.cross_attention_dim, 768);
  EXPECT_FALSE(one.use_linear_projection);
  EXPECT_FALSE(one.upcast_attention);
  EXPECT_TRUE(one.down_has_attention(0));
  EXPECT_FALSE(one.down_has_attention(3));
  EXPECT_FALSE(one.up_has_attention(3));  // the first up block is the lowest level
  const UNetConfig two = UNetConfig::from_json(stable_diffusion_2, "x");
  EXPECT_EQ(two.heads(0), 5);
  EXPECT_EQ(two.heads(3), 20);
  EXPECT_TRUE(two.upcast_attention);
  EXPECT_TRUE(two.use_linear_projection);
  EXPECT_EQ(UNetConfig::from_json(two.to_json(), "x").to_json(), two.to_json());
}

TEST(UNetConfig, PartsThatAreAbsentInTheNetwork) {
  json config = test::config_fixture("unet_unconditional");
  EXPECT_FALSE(UNetConfig::from_json(config, "x").takes_text());
  config["cross_attention_dim"] = nullptr;  // for a list of nulls
  EXPECT_EQ(UNetConfig::from_json(config, "x").cross_attention_dim, 0);
  EXPECT_EQ(UNetConfig::from_json(config, "x").to_json(), test::config_fixture("unet_unconditional"));
  // A width that no block uses.
  config = test::config_fixture("unet_no_mid");
  config["cross_attention_dim"] = 1280;
  EXPECT_FALSE(UNetConfig::from_json(config, "x").takes_text());
  EXPECT_EQ(UNetConfig::from_json(config, "x").mid_block_type, "");
  // Heads matter only where there is attention.
  config["attention_head_dim"] = 5;
  EXPECT_EQ(UNetConfig::from_json(config, "x").heads(0), 5);
}

}  // namespace
}  // namespace soup
