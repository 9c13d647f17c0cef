// Experiments as YAML text for tests: a small valid one, and loading text as if it were a file.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/experiment.hpp"

namespace soup::test {

// Two shards and a base from scratch; every line a test may want to replace stands alone.
inline const char* const small_yaml = R"(schema: 1
name: small
seed: 5
data:
  resolution: 16
  held_out: 0.2
  shards:
    - name: one
      icon_theme: {package: one-icon-theme, theme: One}
    - name: two
      weight: 3
      icon_theme: {package: two-icon-theme, theme: Two, limit: 9}
base:
  shards:
    - name: zero
      icon_theme: {package: zero-icon-theme, theme: Zero}
  train: {images: 64, batch: 16, warmup_images: 16}
  architecture:
    autoencoder: space_to_depth_2
    unet:
      block_out_channels: [16, 32]
      down_block_types: [DownBlock2D, CrossAttnDownBlock2D]
      up_block_types: [CrossAttnUpBlock2D, UpBlock2D]
      attention_head_dim: 2
      norm_num_groups: 4
    text_encoder: {hidden_size: 32, intermediate_size: 64, num_attention_heads: 2}
ingredients: {images: 32, batch: 16, warmup_images: 0}
)";

// Loads `yaml` from a file in `folder`.
inline Experiment load(const std::filesystem::path& folder, const std::string& yaml,
                       const std::vector<std::string>& overrides = {}) {
  const std::filesystem::path file = folder / "x.yaml";
  write_file_atomically(file, yaml);
  return load_experiment(file, overrides);
}

// The message of the ConfigError that loading ends with; "accepted" otherwise.
inline std::string refusal(const std::filesystem::path& folder, const std::string& yaml,
                           const std::vector<std::string>& overrides = {}) {
  try {
    load(folder, yaml, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace soup::test
