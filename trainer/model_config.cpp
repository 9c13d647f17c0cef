// Configurations of the networks as diffusers and transformers write them: every key is written, and a value that is
// not implemented is refused by name. Defaults of absent keys are those of diffusers 0.42 and transformers 5.23.
#include "trainer/model_config.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.hpp"
#include "trainer/config_reader.hpp"

namespace soup {
namespace {

constexpr const char* diffusers_version = "0.42.1";
constexpr const char* transformers_version = "5.23.0";

std::string positive(std::initializer_list<std::pair<const char*, std::int64_t>> values) {
  for (const auto& [key, value] : values) {
    if (value < 1) {
      return fmt::format("{} = {} must be at least 1", key, value);
    }
  }
  return {};
}

template <class Config>
Config checked(Config config, const std::string& where) {
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw DataError(where, problem);
  }
  return config;
}

}  // namespace

nlohmann::json UNetConfig::to_json() const {
  nlohmann::json json = {
      {"_class_name", "UNet2DConditionModel"},
      {"_diffusers_version", diffusers_version},
      {"act_fn", "silu"},
      {"addition_embed_type", nullptr},
      {"addition_embed_type_num_heads", 64},
      {"addition_time_embed_dim", nullptr},
      {"attention_head_dim", attention_head_dim},
      {"attention_type", "default"},
      {"block_out_channels", block_out_channels},
      {"center_input_sample", false},
      {"class_embed_type", nullptr},
      {"class_embeddings_concat", false},
      {"conv_in_kernel", 3},
      {"conv_out_kernel", 3},
      {"cross_attention_dim", cross_attention_dim},
      {"cross_attention_norm", nullptr},
      {"down_block_types", down_block_types},
      {"downsample_padding", 1},
      {"dropout", 0.0},
      {"dual_cross_attention", false},
      {"encoder_hid_dim", nullptr},
      {"encoder_hid_dim_type", nullptr},
      {"flip_sin_to_cos", true},
      {"freq_shift", 0},
      {"in_channels", in_channels},
      {"layers_per_block", layers_per_block},
      {"mid_block_only_cross_attention", nullptr},
      {"mid_block_scale_factor", 1},
      {"mid_block_type", "UNetMidBlock2DCrossAttn"},
      {"norm_eps", norm_eps},
      {"norm_num_groups", norm_num_groups},
      {"num_attention_heads", nullptr},
      {"num_class_embeds", nullptr},
      {"only_cross_attention", false},
      {"out_channels", out_channels},
      {"projection_class_embeddings_input_dim", nullptr},
      {"resnet_out_scale_factor", 1.0},
      {"resnet_skip_time_act", false},
      {"resnet_time_scale_shift", "default"},
      {"reverse_transformer_layers_per_block", nullptr},
      {"sample_size", sample_size},
      {"time_cond_proj_dim", nullptr},
      {"time_embedding_act_fn", nullptr},
      {"time_embedding_dim", nullptr},
      {"time_embedding_type", "positional"},
      {"timestep_post_act", nullptr},
      {"transformer_layers_per_block", transformer_layers_per_block},
      {"up_block_types", up_block_types},
      {"upcast_attention", false},
      {"use_linear_projection", use_linear_projection},
  };
  if (!attention_head_dims.empty()) {
    json["attention_head_dim"] = attention_head_dims;
  }
  return json;
}

UNetConfig UNetConfig::from_json(const nlohmann::json& json, const std::string& where) {
  ConfigReader reader(json, where, "U-Net");
  reader.only("_class_name", "UNet2DConditionModel", {"UNet2DConditionModel"});
  UNetConfig config;
  config.sample_size = reader.integer("sample_size", 64);
  config.in_channels = reader.integer("in_channels", 4);
  config.out_channels = reader.integer("out_channels", 4);
  config.down_block_types = reader.texts(
      "down_block_types", {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"});
  config.up_block_types =
      reader.texts("up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"});
  config.block_out_channels = reader.integers("block_out_channels", {320, 640, 1280, 1280});
  config.layers_per_block = reader.integer("layers_per_block", 2);
  if (reader.is_list("attention_head_dim")) {
    config.attention_head_dims = reader.integers("attention_head_dim", {});
  } else {
    config.attention_head_dim = reader.integer("attention_head_dim", 8);
  }
  config.cross_attention_dim = reader.integer("cross_attention_dim", 1280);
  config.norm_num_groups = reader.integer("norm_num_groups", 32);
  config.norm_eps = reader.number("norm_eps", 1e-5);
  config.use_linear_projection = reader.boolean("use_linear_projection", false);
  config.transformer_layers_per_block = reader.integer("transformer_layers_per_block", 1);

  reader.only("act_fn", "silu", {"silu", "swish"});
  reader.only("addition_embed_type", nullptr, {nullptr});
  reader.ignore("addition_embed_type_num_heads");  // read only with addition_embed_type
  reader.ignore("addition_time_embed_dim");
  reader.only("attention_type", "default", {"default"});
  reader.only("center_input_sample", false, {false});
  reader.only("class_embed_type", nullptr, {nullptr});
  reader.only("class_embeddings_concat", false, {false});
  reader.only("conv_in_kernel", 3, {3});
  reader.only("conv_out_kernel", 3, {3});
  reader.only("cross_attention_norm", nullptr, {nullptr});
  reader.only("downsample_padding", 1, {1});
  reader.only("dropout", 0.0, {0.0});
  reader.only("dual_cross_attention", false, {false});
  reader.only("encoder_hid_dim", nullptr, {nullptr});
  reader.only("encoder_hid_dim_type", nullptr, {nullptr});
  reader.only("flip_sin_to_cos", true, {true});
  reader.only("freq_shift", 0, {0});
  reader.only("mid_block_only_cross_attention", nullptr, {nullptr, false});
  reader.only("mid_block_scale_factor", 1, {1});
  reader.only("mid_block_type", "UNetMidBlock2DCrossAttn", {"UNetMidBlock2DCrossAttn"});
  reader.only("num_attention_heads", nullptr, {nullptr});  // diffusers 0.42 refuses any other value, too
  reader.only("num_class_embeds", nullptr, {nullptr});
  reader.only("only_cross_attention", false, {false});
  reader.only("projection_class_embeddings_input_dim", nullptr, {nullptr});
  reader.only("resnet_out_scale_factor", 1.0, {1.0});
  reader.only("resnet_skip_time_act", false, {false});
  reader.only("resnet_time_scale_shift", "default", {"default"});
  reader.only("reverse_transformer_layers_per_block", nullptr, {nullptr});
  reader.only("time_cond_proj_dim", nullptr, {nullptr});
  reader.only("time_embedding_act_fn", nullptr, {nullptr});
  reader.only("time_embedding_dim", nullptr, {nullptr});
  reader.only("time_embedding_type", "positional", {"positional"});
  reader.only("timestep_post_act", nullptr, {nullptr});
  // Attention in float32 is what float32 weights do anyway (Stable Diffusion 2.1 sets it).
  reader.only("upcast_attention", false, {false, true});
  reader.finish();
  return checked(std::move(config), where);
}

std::string UNetConfig::problem() const {
  if (std::string text = positive({{"sample_size", sample_size},
                                   {"in_channels", in_channels},
                                   {"out_channels", out_channels},
                                   {"layers_per_block", layers_per_block},
                                   {"cross_attention_dim", cross_attention_dim},
                                   {"norm_num_groups", norm_num_groups},
                                   {"transformer_layers_per_block", transformer_layers_per_block}});
      !text.empty()) {
    return text;
  }
  const std::size_t depth = block_out_channels.size();
  if (depth == 0 || down_block_types.size() != depth || up_block_types.size() != depth) {
    return fmt::format(
        "block_out_channels, down_block_types and up_block_types must have the same length of at least "
        "1, but have {}, {} and {}",
        depth, down_block_types.size(), up_block_types.size());
  }
  if (!attention_head_dims.empty() && attention_head_dims.size() != depth) {
    return fmt::format("attention_head_dim has {} entries for {} blocks", attention_head_dims.size(), depth);
  }
  for (std::size_t i = 0; i < depth; ++i) {
    if (down_block_types[i] != "DownBlock2D" && down_block_types[i] != "CrossAttnDownBlock2D") {
      return fmt::format("down_block_types[{}] = {} is not implemented, only DownBlock2D and CrossAttnDownBlock2D", i,
                         down_block_types[i]);
    }
    if (up_block_types[i] != "UpBlock2D" && up_block_types[i] != "CrossAttnUpBlock2D") {
      return fmt::format("up_block_types[{}] = {} is not implemented, only UpBlock2D and CrossAttnUpBlock2D", i,
                         up_block_types[i]);
    }
    const std::int64_t channels = block_out_channels[i];
    if (channels < 1 || channels % norm_num_groups != 0) {
      return fmt::format("block_out_channels[{}] = {} is not a positive multiple of norm_num_groups = {}", i, channels,
                         norm_num_groups);
    }
    if (heads(i) < 1 || channels % heads(i) != 0) {
      return fmt::format("block_out_channels[{}] = {} does not divide into attention_head_dim = {} heads", i, channels,
                         heads(i));
    }
  }
  if (block_out_channels[0] % 2 != 0) {
    return fmt::format("block_out_channels[0] = {} must be even: half of the time embedding is sines, half cosines",
                       block_out_channels[0]);
  }
  if (!(norm_eps > 0.0)) {
    return fmt::format("norm_eps = {} must be positive", norm_eps);
  }
  return {};
}

nlohmann::json TextEncoderConfig::to_json() const {
  return {
      {"architectures", {"CLIPTextModel"}},
      {"attention_dropout", 0.0},
      {"bos_token_id", bos_token_id},
      {"dtype", "float32"},
      {"eos_token_id", eos_token_id},
      {"hidden_act", hidden_act},
      {"hidden_size", hidden_size},
      {"initializer_factor", 1.0},
      {"initializer_range", 0.02},
      {"intermediate_size", intermediate_size},
      {"layer_norm_eps", layer_norm_eps},
      {"max_position_embeddings", max_position_embeddings},
      {"model_type", "clip_text_model"},
      {"num_attention_heads", num_attention_heads},
      {"num_hidden_layers", num_hidden_layers},
      {"pad_token_id", eos_token_id},
      {"projection_dim", hidden_size},
      {"transformers_version", transformers_version},
      {"vocab_size", vocab_size},
  };
}

TextEncoderConfig TextEncoderConfig::from_json(const nlohmann::json& json, const std::string& where) {
  ConfigReader reader(json, where, "text encoder");
  reader.only("architectures", nullptr, {nullptr, {"CLIPTextModel"}});
  reader.only("model_type", "clip_text_model", {"clip_text_model"});
  TextEncoderConfig config;
  config.vocab_size = reader.integer("vocab_size", 49408);
  config.hidden_size = reader.integer("hidden_size", 512);
  config.intermediate_size = reader.integer("intermediate_size", 2048);
  config.num_hidden_layers = reader.integer("num_hidden_layers", 12);
  config.num_attention_heads = reader.integer("num_attention_heads", 8);
  config.max_position_embeddings = reader.integer("max_position_embeddings", 77);
  config.hidden_act = reader.text("hidden_act", "quick_gelu");
  config.layer_norm_eps = reader.number("layer_norm_eps", 1e-5);
  config.bos_token_id = reader.integer("bos_token_id", 49406);
  config.eos_token_id = reader.integer("eos_token_id", 49407);
  reader.only("attention_dropout", 0.0, {0.0});
  reader.only("dropout", 0.0, {0.0});
  // About fresh weights, the pooled output, padding or the writer: nothing that the hidden states depend on.
  for (const char* key : {"dtype", "torch_dtype", "initializer_factor", "initializer_range", "pad_token_id",
                          "projection_dim", "transformers_version"}) {
    reader.ignore(key);
  }
  reader.finish();
  return checked(std::move(config), where);
}

std::string TextEncoderConfig::problem() const {
  if (std::string text = positive({{"vocab_size", vocab_size},
                                   {"hidden_size", hidden_size},
                                   {"intermediate_size", intermediate_size},
                                   {"num_hidden_layers", num_hidden_layers},
                                   {"num_attention_heads", num_attention_heads},
                                   {"max_position_embeddings", max_position_embeddings}});
      !text.empty()) {
    return text;
  }
  if (hidden_size % num_attention_heads != 0) {
    return fmt::format("hidden_size = {} does not divide into num_attention_heads = {}", hidden_size,
                       num_attention_heads);
  }
  if (hidden_act != "quick_gelu" && hidden_act != "gelu") {
    return fmt::format("hidden_act = {} is not implemented, only quick_gelu and gelu", hidden_act);
  }
  if (!(layer_norm_eps > 0.0)) {
    return fmt::format("layer_norm_eps = {} must be positive", layer_norm_eps);
  }
  return {};
}

}  // namespace soup
