// Configuration of an AutoencoderKL with diffusers' config.json keys; torch-free.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace soup {

// Without changes: Stable Diffusion's.
struct AutoencoderKLConfig {
  std::int64_t sample_size = 512;
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::vector<std::int64_t> block_out_channels = {128, 256, 512, 512};  // of one DownEncoderBlock2D each
  std::int64_t layers_per_block = 2;
  std::int64_t latent_channels = 4;
  std::int64_t norm_num_groups = 32;
  double scaling_factor = 0.18215;  // the U-Net's latents are the encoder's times this (Rombach et al. 2022, G.1)
  bool use_quant_conv = true;
  bool use_post_quant_conv = true;
  bool mid_block_add_attention = true;
  bool force_upcast = true;  // its weights are known to overflow float16; nothing here computes in float16

  // Every key diffusers writes, with the values it would have; `_class_name` included.
  [[nodiscard]] nlohmann::json to_json() const;
  // Absent keys mean diffusers' defaults. Throws DataError naming a key or value that is unknown or not implemented.
  // `where` is the file, for messages.
  static AutoencoderKLConfig from_json(const nlohmann::json& json, const std::string& where);
  // What makes the network impossible to build; "" when nothing does.
  [[nodiscard]] std::string problem() const;
  // Side of a latent's pixel in image pixels.
  [[nodiscard]] std::int64_t factor() const { return std::int64_t{1} << (block_out_channels.size() - 1); }
};

}  // namespace soup
