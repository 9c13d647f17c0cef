// Configuration of a UNet2DConditionModel with diffusers' config.json keys; torch-free.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace soup {

// A level is one resolution: down block i and the up block that takes its images back.
struct UNetConfig {
  std::int64_t sample_size = 16;
  std::int64_t in_channels = 12;
  std::int64_t out_channels = 12;
  std::vector<std::string> down_block_types = {"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"};
  // "UNetMidBlock2DCrossAttn", "UNetMidBlock2D" (one residual block), or "" for none (null in the file).
  std::string mid_block_type = "UNetMidBlock2DCrossAttn";
  std::vector<std::string> up_block_types = {"CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"};
  std::vector<std::int64_t> block_out_channels = {48, 96, 128};
  std::int64_t layers_per_block = 1;
  std::vector<std::int64_t> layers_per_level;  // where the levels differ; empty: layers_per_block
  std::int64_t attention_head_dim = 4;         // diffusers' historic name: the number of heads
  // One number of heads per level where they differ (Stable Diffusion 2: 5, 10, 20, 20); empty: attention_head_dim.
  std::vector<std::int64_t> attention_head_dims;
  std::int64_t cross_attention_dim = 96;  // width of the text states; 0 (null in the file): transformers without text
  std::int64_t norm_num_groups = 8;
  double norm_eps = 1e-5;
  bool use_linear_projection = true;
  bool upcast_attention = false;  // attention in float32 whatever the weights' type (Stable Diffusion 2.1)
  std::int64_t transformer_layers_per_block = 1;
  std::vector<std::int64_t> transformer_layers_per_level;  // where they differ; empty: transformer_layers_per_block
  bool center_input_sample = false;                        // the sample s enters as 2 s - 1
  bool flip_sin_to_cos = true;                             // the time embedding begins with the cosines
  std::int64_t freq_shift = 0;

  // Every key diffusers writes, with the values it would have; `_class_name` included.
  [[nodiscard]] nlohmann::json to_json() const;
  // Absent keys mean diffusers' defaults. Throws DataError naming a key or value that is unknown or not implemented.
  // `where` is the file, for messages.
  static UNetConfig from_json(const nlohmann::json& json, const std::string& where);
  // What makes the network impossible to build, naming the numbers that disagree; "" when nothing does.
  [[nodiscard]] std::string problem() const;

  [[nodiscard]] std::size_t levels() const { return block_out_channels.size(); }
  [[nodiscard]] std::int64_t heads(std::size_t level) const;
  [[nodiscard]] std::int64_t layers(
      std::size_t level) const;  // residual blocks on the way down; one more on the way up
  [[nodiscard]] std::int64_t transformer_layers(std::size_t level) const;
  [[nodiscard]] bool down_has_attention(std::size_t level) const;
  [[nodiscard]] bool up_has_attention(std::size_t level) const;
  [[nodiscard]] bool middle_has_attention() const { return mid_block_type == "UNetMidBlock2DCrossAttn"; }
  // Whether the output depends on a text at all.
  [[nodiscard]] bool takes_text() const;
};

}  // namespace soup
