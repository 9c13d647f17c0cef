// AutoencoderKL's config.json: every key is written, and a value that is not implemented is refused by name. Defaults
// of absent keys are those of diffusers 0.42.
#include "trainer/autoencoder_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "trainer/config_reader.hpp"

namespace soup {
namespace {

constexpr const char* encoder_block = "DownEncoderBlock2D";
constexpr const char* decoder_block = "UpDecoderBlock2D";
// More levels than this would shrink an image of 65,536 pixels to nothing.
constexpr std::size_t most_levels_of_autoencoder = 16;

// A list of block types must have one entry per level, all of the one type that is implemented.
void require_blocks(ConfigReader& reader, const std::string& key, const std::string& type, std::size_t levels) {
  const std::vector<std::string> types = reader.texts(key, {type});
  if (types.size() != levels || std::ranges::any_of(types, [&type](const auto& other) { return other != type; })) {
    reader.fail(key, fmt::format("{} for each of {} block_out_channels", type, levels));
  }
}

}  // namespace

nlohmann::json AutoencoderKLConfig::to_json() const {
  const std::size_t levels = block_out_channels.size();
  return {
      {"_class_name", "AutoencoderKL"},
      {"_diffusers_version", diffusers_release},
      {"act_fn", "silu"},
      {"block_out_channels", block_out_channels},
      {"down_block_types", std::vector<std::string>(levels, encoder_block)},
      {"force_upcast", force_upcast},
      {"in_channels", in_channels},
      {"latent_channels", latent_channels},
      {"latents_mean", nullptr},
      {"latents_std", nullptr},
      {"layers_per_block", layers_per_block},
      {"mid_block_add_attention", mid_block_add_attention},
      {"norm_num_groups", norm_num_groups},
      {"out_channels", out_channels},
      {"sample_size", sample_size},
      {"scaling_factor", scaling_factor},
      {"shift_factor", nullptr},
      {"up_block_types", std::vector<std::string>(levels, decoder_block)},
      {"use_post_quant_conv", use_post_quant_conv},
      {"use_quant_conv", use_quant_conv},
  };
}

AutoencoderKLConfig AutoencoderKLConfig::from_json(const nlohmann::json& json, const std::string& where) {
  ConfigReader reader(json, where, "autoencoder");
  reader.only("_class_name", "AutoencoderKL", {"AutoencoderKL"});
  reader.refuse_null({"in_channels", "out_channels", "block_out_channels", "down_block_types", "up_block_types",
                      "layers_per_block", "latent_channels", "norm_num_groups", "scaling_factor"});
  AutoencoderKLConfig config;
  config.sample_size = reader.integer("sample_size", 32);
  config.in_channels = reader.integer("in_channels", 3);
  config.out_channels = reader.integer("out_channels", 3);
  config.block_out_channels = reader.integers("block_out_channels", {64});
  require_blocks(reader, "down_block_types", encoder_block, config.block_out_channels.size());
  require_blocks(reader, "up_block_types", decoder_block, config.block_out_channels.size());
  config.layers_per_block = reader.integer("layers_per_block", 1);
  config.latent_channels = reader.integer("latent_channels", 4);
  config.norm_num_groups = reader.integer("norm_num_groups", 32);
  config.scaling_factor = reader.number("scaling_factor", 0.18215);
  config.use_quant_conv = reader.boolean("use_quant_conv", true);
  config.use_post_quant_conv = reader.boolean("use_post_quant_conv", true);
  config.mid_block_add_attention = reader.boolean("mid_block_add_attention", true);
  config.force_upcast = reader.boolean("force_upcast", true);
  reader.only("act_fn", "silu", {"silu", "swish"});
  reader.only("latents_mean", nullptr, {nullptr});
  reader.only("latents_std", nullptr, {nullptr});
  reader.only("shift_factor", nullptr, {nullptr});
  reader.finish();
  return checked_config(std::move(config), where);
}

std::string AutoencoderKLConfig::problem() const {
  if (std::string text = first_below(1, {{"sample_size", sample_size},
                                         {"in_channels", in_channels},
                                         {"out_channels", out_channels},
                                         {"layers_per_block", layers_per_block},
                                         {"latent_channels", latent_channels},
                                         {"norm_num_groups", norm_num_groups}});
      !text.empty()) {
    return text;
  }
  if (std::string text = first_above(most_layers, {{"layers_per_block", layers_per_block}}); !text.empty()) {
    return text;
  }
  if (std::string text =
          first_above(widest_layer, {{"in_channels", in_channels}, {"latent_channels", latent_channels}});
      !text.empty()) {
    return text;
  }
  if (in_channels != out_channels) {
    return fmt::format("in_channels = {} and out_channels = {} must be equal: an image is decoded to what it was",
                       in_channels, out_channels);
  }
  if (block_out_channels.empty() || block_out_channels.size() > most_levels_of_autoencoder) {
    return fmt::format("block_out_channels has {} entries, must have 1 to {}", block_out_channels.size(),
                       most_levels_of_autoencoder);
  }
  for (std::size_t i = 0; i < block_out_channels.size(); ++i) {
    if (block_out_channels[i] > widest_layer) {
      return fmt::format("block_out_channels[{}] = {} must be at most {}", i, block_out_channels[i], widest_layer);
    }
    if (block_out_channels[i] < 1 || block_out_channels[i] % norm_num_groups != 0) {
      return fmt::format("block_out_channels[{}] = {} is not a positive multiple of norm_num_groups = {}", i,
                         block_out_channels[i], norm_num_groups);
    }
  }
  if (!(scaling_factor > 0.0 && std::isfinite(scaling_factor))) {
    return fmt::format("scaling_factor = {} must be positive", scaling_factor);
  }
  return {};
}

}  // namespace soup
