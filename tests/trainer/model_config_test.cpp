// config.json files: what diffusers and transformers write is read, what is not implemented is refused by name.
#include "trainer/model_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json fixture(const std::string& name) {
  return json::parse(read_file(std::string(SOUP_SOURCE_DIR) + "/tests/fixtures/parity/" + name + "/config.json"));
}

template <class Config>
std::string refusal(const json& value) {
  try {
    Config::from_json(value, "folder/config.json");
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ModelConfig, UNetWritesExactlyWhatDiffusersWrites) {
  for (const char* name : {"unet_1", "unet_2"}) {
    const json written = fixture(name);
    EXPECT_EQ(UNetConfig::from_json(written, name).to_json(), written);
  }
}

TEST(ModelConfig, TextEncoderWritesExactlyWhatTransformersWrites) {
  for (const char* name : {"text_quick_gelu", "text_gelu"}) {
    json written = fixture(name);
    written["projection_dim"] = 12;  // of a head that the model does not have: written as the width
    EXPECT_EQ(TextEncoderConfig::from_json(written, name).to_json(), written);
  }
}

TEST(ModelConfig, AbsentKeysMeanTheDefaultsOfDiffusersAndTransformers) {
  const UNetConfig unet = UNetConfig::from_json({{"_class_name", "UNet2DConditionModel"}}, "x");
  EXPECT_EQ(unet.in_channels, 4);
  EXPECT_EQ(unet.block_out_channels, (std::vector<std::int64_t>{320, 640, 1280, 1280}));
  EXPECT_EQ(unet.up_block_types[0], "UpBlock2D");
  EXPECT_EQ(unet.heads(3), 8);
  EXPECT_EQ(unet.cross_attention_dim, 1280);
  EXPECT_FALSE(unet.use_linear_projection);
  const TextEncoderConfig text = TextEncoderConfig::from_json(json::object(), "x");
  EXPECT_EQ(text.hidden_size, 512);
  EXPECT_EQ(text.max_position_embeddings, 77);
}

TEST(ModelConfig, EveryUNetOptionNotImplementedIsRefusedByName) {
  const std::pair<const char*, json> changes[] = {
      {"act_fn", "gelu"},
      {"addition_embed_type", "text"},
      {"attention_type", "gated"},
      {"center_input_sample", true},
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
      {"flip_sin_to_cos", false},
      {"freq_shift", 1},
      {"mid_block_only_cross_attention", true},
      {"mid_block_scale_factor", 2},
      {"mid_block_type", "UNetMidBlock2D"},
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
      {"layers_per_block", {1, 2}},
      {"transformer_layers_per_block", {1, 2}},
      {"cross_attention_dim", {6, 6}},
      {"norm_eps", "small"},
      {"use_linear_projection", 1},
      {"down_block_types", "DownBlock2D"},
  };
  for (const auto& [key, value] : changes) {
    json config = fixture("unet_1");
    config[key] = value;
    const std::string message = refusal<UNetConfig>(config);
    EXPECT_THAT(message, HasSubstr("folder/config.json")) << key;
    EXPECT_THAT(message, HasSubstr(key));
    EXPECT_THAT(message, HasSubstr(value.dump())) << key;
  }
}

TEST(ModelConfig, NumbersThatDoNotFitAreRefused) {
  const std::pair<const char*, json> changes[] = {
      {"block_out_channels", {4, 9, 8}},      // not a multiple of the groups
      {"block_out_channels", {4, 8}},         // one short
      {"block_out_channels", json::array()},  // none
      {"block_out_channels", {0, 8, 8}},
      {"attention_head_dim", 3},       // does not divide 4
      {"attention_head_dim", {2, 2}},  // one short
      {"attention_head_dim", 0},
      {"norm_num_groups", 0},
      {"norm_eps", 0.0},
      {"in_channels", -1},
      {"down_block_types", {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D"}},
      {"up_block_types", {"UpBlock2D", "UpBlock2D", "SkipUpBlock2D"}},
  };
  for (const auto& [key, value] : changes) {
    json config = fixture("unet_1");
    config[key] = value;
    EXPECT_THAT(refusal<UNetConfig>(config), HasSubstr(key)) << value;
  }
  UNetConfig odd;
  odd.block_out_channels = {45, 96, 128};
  odd.norm_num_groups = 1;
  odd.attention_head_dim = 1;
  EXPECT_THAT(odd.problem(), HasSubstr("must be even"));
  EXPECT_EQ(UNetConfig().problem(), "");
}

TEST(ModelConfig, TextEncoderRefusesWhatItCannotCompute) {
  const std::pair<const char*, json> changes[] = {
      {"hidden_act", "relu"}, {"num_attention_heads", 5},     {"attention_dropout", 0.1},
      {"vocab_size", 0},      {"model_type", "bert"},         {"architectures", {"CLIPTextModelWithProjection"}},
      {"layer_norm_eps", -1}, {"invented_key", json::array()}};
  for (const auto& [key, value] : changes) {
    json config = fixture("text_gelu");
    config[key] = value;
    EXPECT_THAT(refusal<TextEncoderConfig>(config), HasSubstr(key)) << value;
  }
  EXPECT_THAT(refusal<TextEncoderConfig>(json::array()), HasSubstr("array"));
}

}  // namespace
}  // namespace soup
