// CLIPTextModel's config.json: every key is written, and a value that is not implemented is refused by name. Defaults
// of absent keys are those of transformers 5.23.
#include "trainer/text_encoder_config.hpp"

#include <fmt/format.h>

#include "trainer/config_reader.hpp"

namespace soup {
namespace {

constexpr std::int64_t largest_vocabulary = 1 << 24;  // and the widest feed-forward layer

}  // namespace

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
      {"transformers_version", transformers_release},
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
  return checked_config(std::move(config), where);
}

std::string TextEncoderConfig::problem() const {
  if (std::string text = first_below(1, {{"vocab_size", vocab_size},
                                         {"hidden_size", hidden_size},
                                         {"intermediate_size", intermediate_size},
                                         {"num_hidden_layers", num_hidden_layers},
                                         {"num_attention_heads", num_attention_heads},
                                         {"max_position_embeddings", max_position_embeddings}});
      !text.empty()) {
    return text;
  }
  if (std::string text = first_above(
          widest_layer, {{"hidden_size", hidden_size}, {"max_position_embeddings", max_position_embeddings}});
      !text.empty()) {
    return text;
  }
  if (std::string text =
          first_above(largest_vocabulary, {{"vocab_size", vocab_size}, {"intermediate_size", intermediate_size}});
      !text.empty()) {
    return text;
  }
  if (std::string text = first_above(most_layers, {{"num_hidden_layers", num_hidden_layers}}); !text.empty()) {
    return text;
  }
  if (hidden_size % num_attention_heads != 0) {
    return fmt::format("hidden_size = {} does not divide into num_attention_heads = {}", hidden_size,
                       num_attention_heads);
  }
  if (hidden_act != "quick_gelu" && hidden_act != "gelu" && hidden_act != "gelu_new") {
    return fmt::format("hidden_act = {} is not implemented, only quick_gelu, gelu and gelu_new", hidden_act);
  }
  if (!(layer_norm_eps > 0.0)) {
    return fmt::format("layer_norm_eps = {} must be positive", layer_norm_eps);
  }
  return {};
}

}  // namespace soup
