// Configurations of the networks with diffusers' and transformers' config.json keys; torch-free.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/schedule_config.hpp"

namespace soup {

// diffusers UNet2DConditionModel.
struct UNetConfig {
  std::int64_t sample_size = 16;
  std::int64_t in_channels = 12;
  std::int64_t out_channels = 12;
  std::vector<std::string> down_block_types = {"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"};
  std::vector<std::string> up_block_types = {"CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"};
  std::vector<std::int64_t> block_out_channels = {48, 96, 128};
  std::int64_t layers_per_block = 1;
  std::int64_t attention_head_dim = 4;  // diffusers' historic name: the number of heads
  // One number of heads per block where they differ (Stable Diffusion 2: 5, 10, 20, 20); empty: attention_head_dim.
  std::vector<std::int64_t> attention_head_dims;
  std::int64_t cross_attention_dim = 96;
  std::int64_t norm_num_groups = 8;
  double norm_eps = 1e-5;
  bool use_linear_projection = true;
  std::int64_t transformer_layers_per_block = 1;

  // Every key diffusers writes, with the values it would have; `_class_name` included.
  [[nodiscard]] nlohmann::json to_json() const;
  // Absent keys mean diffusers' defaults. Throws DataError naming a key or value that is unknown or not implemented.
  // `where` is the file, for messages.
  static UNetConfig from_json(const nlohmann::json& json, const std::string& where);
  // What makes the network impossible to build, naming the numbers that disagree; "" when nothing does.
  [[nodiscard]] std::string problem() const;
  // Attention heads of down block `block` (and of the up block at its resolution).
  [[nodiscard]] std::int64_t heads(std::size_t block) const {
    return attention_head_dims.empty() ? attention_head_dim : attention_head_dims.at(block);
  }
};

// transformers CLIPTextModel.
struct TextEncoderConfig {
  std::int64_t vocab_size = 2048;
  std::int64_t hidden_size = 96;
  std::int64_t intermediate_size = 384;
  std::int64_t num_hidden_layers = 2;
  std::int64_t num_attention_heads = 4;
  std::int64_t max_position_embeddings = 16;
  std::string hidden_act = "quick_gelu";
  double layer_norm_eps = 1e-5;
  std::int64_t bos_token_id = 0;
  std::int64_t eos_token_id = 1;

  [[nodiscard]] nlohmann::json to_json() const;
  static TextEncoderConfig from_json(const nlohmann::json& json, const std::string& where);
  [[nodiscard]] std::string problem() const;
};

// All that decides a model's shape.
struct ModelConfig {
  UNetConfig unet;
  TextEncoderConfig text_encoder;
  ScheduleConfig schedule;
  std::string autoencoder = "space_to_depth_2";
};

}  // namespace soup
