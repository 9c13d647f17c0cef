// Configuration of a CLIPTextModel with transformers' config.json keys; torch-free.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace soup {

struct TextEncoderConfig {
  std::int64_t vocab_size = 2048;
  std::int64_t hidden_size = 96;
  std::int64_t intermediate_size = 384;
  std::int64_t num_hidden_layers = 2;
  std::int64_t num_attention_heads = 4;
  std::int64_t max_position_embeddings = 16;
  std::string hidden_act = "quick_gelu";  // or "gelu", "gelu_new"
  double layer_norm_eps = 1e-5;
  std::int64_t bos_token_id = 0;
  std::int64_t eos_token_id = 1;

  // Every key transformers writes.
  [[nodiscard]] nlohmann::json to_json() const;
  // Absent keys mean transformers' defaults. Throws DataError naming a key or value that is unknown or not implemented.
  // `where` is the file, for messages.
  static TextEncoderConfig from_json(const nlohmann::json& json, const std::string& where);
  // What makes the network impossible to build; "" when nothing does.
  [[nodiscard]] std::string problem() const;
};

}  // namespace soup
