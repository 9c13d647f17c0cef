// UNet2DConditionModel's config.json: every key is written, and a value that is not implemented is refused by name.
// Defaults of absent keys are those of diffusers 0.42.
#include "trainer/unet_config.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "trainer/config_reader.hpp"

namespace soup {
namespace {

constexpr const char* cross_attention_mid_block = "UNetMidBlock2DCrossAttn";
constexpr const char* plain_mid_block = "UNetMidBlock2D";
constexpr std::size_t most_levels = 16;

// A number for all levels, or a list with one for each: what the file says goes to `all` or to `each`.
void read_per_level(ConfigReader& reader, const std::string& key, std::int64_t absent, std::int64_t& all,
                    std::vector<std::int64_t>& each) {
  if (reader.is_list(key)) {
    each = reader.integers(key, {});
    if (each.empty()) {
      reader.fail(key, "a number or a list of numbers");
    }
  } else {
    all = reader.integer(key, absent);
  }
}

nlohmann::json per_level_json(std::int64_t all, const std::vector<std::int64_t>& each) {
  return each.empty() ? nlohmann::json(all) : nlohmann::json(each);
}

// A width, or 0 for null. diffusers 0.42 itself can build a network without text only from a list of nulls.
std::int64_t read_text_width(ConfigReader& reader, std::size_t levels) {
  constexpr const char* key = "cross_attention_dim";
  if (reader.is_null(key)) {
    return 0;
  }
  if (reader.is_list(key)) {
    reader.only(key, nullptr, {std::vector<nlohmann::json>(levels, nullptr)});
    return 0;
  }
  const std::int64_t width = reader.integer(key, 1280);
  if (width < 1) {
    reader.fail(key, "at least 1, or null for a network without text");
  }
  return width;
}

// The keys of which only one value is implemented.
void refuse_others(ConfigReader& reader) {
  reader.only("act_fn", "silu", {"silu", "swish"});
  reader.only("addition_embed_type", nullptr, {nullptr});
  reader.ignore("addition_embed_type_num_heads");  // read only with addition_embed_type
  reader.ignore("addition_time_embed_dim");
  reader.only("attention_type", "default", {"default"});
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
  reader.only("mid_block_only_cross_attention", nullptr, {nullptr, false});
  reader.only("mid_block_scale_factor", 1, {1});
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
}

std::int64_t of_level(std::int64_t all, const std::vector<std::int64_t>& each, std::size_t level) {
  return each.empty() ? all : each.at(level);
}

// What is wrong with the lists that have one entry per level.
std::string list_problem(const UNetConfig& config) {
  const std::size_t levels = config.levels();
  if (levels > most_levels) {
    return fmt::format("block_out_channels has {} entries, must have 1 to {}", levels, most_levels);
  }
  if (levels == 0 || config.down_block_types.size() != levels || config.up_block_types.size() != levels) {
    return fmt::format(
        "block_out_channels, down_block_types and up_block_types must have the same length of at least 1, but have {}, "
        "{} and {}",
        levels, config.down_block_types.size(), config.up_block_types.size());
  }
  const std::pair<const char*, const std::vector<std::int64_t>*> lists[] = {
      {"attention_head_dim", &config.attention_head_dims},
      {"layers_per_block", &config.layers_per_level},
      {"transformer_layers_per_block", &config.transformer_layers_per_level}};
  for (const auto& [key, list] : lists) {
    if (!list->empty() && list->size() != levels) {
      return fmt::format("{} has {} entries for {} blocks", key, list->size(), levels);
    }
    if (const auto wrong = std::ranges::find_if(*list, [](std::int64_t value) { return value < 1; });
        wrong != list->end()) {
      return fmt::format("{}[{}] = {} must be at least 1", key, wrong - list->begin(), *wrong);
    }
    if (const auto wrong = std::ranges::find_if(*list, [](std::int64_t value) { return value > most_layers; });
        list != &config.attention_head_dims && wrong != list->end()) {
      return fmt::format("{}[{}] = {} must be at most {}", key, wrong - list->begin(), *wrong, most_layers);
    }
  }
  for (std::size_t i = 0; i < levels; ++i) {
    if (config.down_block_types[i] != "DownBlock2D" && config.down_block_types[i] != "CrossAttnDownBlock2D") {
      return fmt::format("down_block_types[{}] = {} is not implemented, only DownBlock2D and CrossAttnDownBlock2D", i,
                         config.down_block_types[i]);
    }
    if (config.up_block_types[i] != "UpBlock2D" && config.up_block_types[i] != "CrossAttnUpBlock2D") {
      return fmt::format("up_block_types[{}] = {} is not implemented, only UpBlock2D and CrossAttnUpBlock2D", i,
                         config.up_block_types[i]);
    }
    // diffusers builds none either.
    if (config.cross_attention_dim == 0 && (config.down_has_attention(i) || config.up_has_attention(i))) {
      return fmt::format(
          "cross_attention_dim = null, but blocks at level {} have cross-attention (down_block_types, up_block_types)",
          i);
    }
  }
  return {};
}

std::string channel_problem(const UNetConfig& config, std::size_t level) {
  const std::int64_t channels = config.block_out_channels[level];
  if (channels > widest_layer) {
    return fmt::format("block_out_channels[{}] = {} must be at most {}", level, channels, widest_layer);
  }
  if (channels < 1 || channels % config.norm_num_groups != 0) {
    return fmt::format("block_out_channels[{}] = {} is not a positive multiple of norm_num_groups = {}", level,
                       channels, config.norm_num_groups);
  }
  const bool attends = config.down_has_attention(level) || config.up_has_attention(level) ||
                       (level + 1 == config.levels() && config.middle_has_attention());
  const std::int64_t heads = config.heads(level);
  if (attends && channels % heads != 0) {
    return fmt::format("block_out_channels[{}] = {} does not divide into attention_head_dim = {} heads", level,
                       channels, heads);
  }
  return {};
}

}  // namespace

nlohmann::json UNetConfig::to_json() const {
  nlohmann::json json = {
      {"_class_name", "UNet2DConditionModel"},
      {"_diffusers_version", diffusers_release},
      {"act_fn", "silu"},
      {"addition_embed_type", nullptr},
      {"addition_embed_type_num_heads", 64},
      {"addition_time_embed_dim", nullptr},
      {"attention_head_dim", per_level_json(attention_head_dim, attention_head_dims)},
      {"attention_type", "default"},
      {"block_out_channels", block_out_channels},
      {"center_input_sample", center_input_sample},
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
      {"flip_sin_to_cos", flip_sin_to_cos},
      {"freq_shift", freq_shift},
      {"in_channels", in_channels},
      {"layers_per_block", per_level_json(layers_per_block, layers_per_level)},
      {"mid_block_only_cross_attention", nullptr},
      {"mid_block_scale_factor", 1},
      {"mid_block_type", mid_block_type},
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
      {"transformer_layers_per_block", per_level_json(transformer_layers_per_block, transformer_layers_per_level)},
      {"up_block_types", up_block_types},
      {"upcast_attention", upcast_attention},
      {"use_linear_projection", use_linear_projection},
  };
  if (cross_attention_dim == 0) {
    json["cross_attention_dim"] = std::vector<nlohmann::json>(levels(), nullptr);
  }
  if (mid_block_type.empty()) {
    json["mid_block_type"] = nullptr;
  }
  return json;
}

UNetConfig UNetConfig::from_json(const nlohmann::json& json, const std::string& where) {
  ConfigReader reader(json, where, "U-Net");
  reader.only("_class_name", "UNet2DConditionModel", {"UNet2DConditionModel"});
  // diffusers can build none of these without a value; that it is absent means the default.
  reader.refuse_null({"in_channels", "out_channels", "down_block_types", "up_block_types", "block_out_channels",
                      "layers_per_block", "attention_head_dim", "norm_num_groups", "norm_eps",
                      "transformer_layers_per_block", "freq_shift"});
  UNetConfig config;
  config.sample_size = reader.integer("sample_size", 64);
  config.in_channels = reader.integer("in_channels", 4);
  config.out_channels = reader.integer("out_channels", 4);
  config.down_block_types = reader.texts(
      "down_block_types", {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"});
  config.mid_block_type =
      reader.is_null("mid_block_type") ? "" : reader.text("mid_block_type", cross_attention_mid_block);
  config.up_block_types =
      reader.texts("up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"});
  config.block_out_channels = reader.integers("block_out_channels", {320, 640, 1280, 1280});
  read_per_level(reader, "layers_per_block", 2, config.layers_per_block, config.layers_per_level);
  read_per_level(reader, "attention_head_dim", 8, config.attention_head_dim, config.attention_head_dims);
  config.cross_attention_dim = read_text_width(reader, config.levels());
  config.norm_num_groups = reader.integer("norm_num_groups", 32);
  config.norm_eps = reader.number("norm_eps", 1e-5);
  config.use_linear_projection = reader.boolean("use_linear_projection", false);
  config.upcast_attention = reader.boolean("upcast_attention", false);
  read_per_level(reader, "transformer_layers_per_block", 1, config.transformer_layers_per_block,
                 config.transformer_layers_per_level);
  config.center_input_sample = reader.boolean("center_input_sample", false);
  config.flip_sin_to_cos = reader.boolean("flip_sin_to_cos", true);
  config.freq_shift = reader.integer("freq_shift", 0);
  refuse_others(reader);
  reader.finish();
  return checked_config(std::move(config), where);
}

std::string UNetConfig::problem() const {
  if (std::string text = first_below(1, {{"sample_size", sample_size},
                                         {"in_channels", in_channels},
                                         {"out_channels", out_channels},
                                         {"layers_per_block", layers_per_block},
                                         {"attention_head_dim", attention_head_dim},
                                         {"norm_num_groups", norm_num_groups},
                                         {"transformer_layers_per_block", transformer_layers_per_block}});
      !text.empty()) {
    return text;
  }
  if (std::string text = first_above(most_layers, {{"layers_per_block", layers_per_block},
                                                   {"transformer_layers_per_block", transformer_layers_per_block}});
      !text.empty()) {
    return text;
  }
  if (std::string text = first_above(widest_layer, {{"sample_size", sample_size},
                                                    {"in_channels", in_channels},
                                                    {"out_channels", out_channels},
                                                    {"cross_attention_dim", cross_attention_dim}});
      !text.empty()) {
    return text;
  }
  if (cross_attention_dim < 0) {
    return fmt::format("cross_attention_dim = {} must be at least 1", cross_attention_dim);
  }
  if (!mid_block_type.empty() && mid_block_type != cross_attention_mid_block && mid_block_type != plain_mid_block) {
    return fmt::format("mid_block_type = \"{}\" is not implemented, only {}, {} and null", mid_block_type,
                       cross_attention_mid_block, plain_mid_block);
  }
  if (std::string text = list_problem(*this); !text.empty()) {
    return text;
  }
  for (std::size_t level = 0; level < levels(); ++level) {
    if (std::string text = channel_problem(*this, level); !text.empty()) {
      return text;
    }
  }
  if (block_out_channels[0] % 2 != 0) {
    return fmt::format("block_out_channels[0] = {} must be even: half of the time embedding is sines, half cosines",
                       block_out_channels[0]);
  }
  if (freq_shift < 0 || freq_shift >= block_out_channels[0] / 2) {
    return fmt::format(
        "freq_shift = {} must be at least 0 and below {}, the number of frequencies in the time embedding", freq_shift,
        block_out_channels[0] / 2);
  }
  if (!(norm_eps > 0.0)) {
    return fmt::format("norm_eps = {} must be positive", norm_eps);
  }
  return {};
}

std::int64_t UNetConfig::heads(std::size_t level) const {
  return of_level(attention_head_dim, attention_head_dims, level);
}

std::int64_t UNetConfig::layers(std::size_t level) const {
  return of_level(layers_per_block, layers_per_level, level);
}

std::int64_t UNetConfig::transformer_layers(std::size_t level) const {
  return of_level(transformer_layers_per_block, transformer_layers_per_level, level);
}

bool UNetConfig::down_has_attention(std::size_t level) const {
  return down_block_types.at(level) == "CrossAttnDownBlock2D";
}

bool UNetConfig::up_has_attention(std::size_t level) const {
  return up_block_types.at(levels() - 1 - level) == "CrossAttnUpBlock2D";
}

bool UNetConfig::takes_text() const {
  bool attends = middle_has_attention();
  for (std::size_t level = 0; level < levels(); ++level) {
    attends = attends || down_has_attention(level) || up_has_attention(level);
  }
  return attends && cross_attention_dim > 0;
}

}  // namespace soup
