// CLIPTextModel's config.json: what transformers writes is read, what is not implemented is refused by name.
#include "trainer/text_encoder_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>

#include "tests/trainer/config_fixture.hpp"

namespace soup {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TEST(TextEncoderConfig, WritesExactlyWhatTransformersWrites) {
  for (const char* name : {"text_quick_gelu", "text_gelu", "text_gelu_new"}) {
    json written = test::config_fixture(name);
    written["projection_dim"] = 12;  // of a head that the model does not have: written as the width
    EXPECT_EQ(TextEncoderConfig::from_json(written, name).to_json(), written);
  }
}

TEST(TextEncoderConfig, AbsentKeysMeanTheDefaultsOfTransformers) {
  const TextEncoderConfig text = TextEncoderConfig::from_json(json::object(), "x");
  EXPECT_EQ(text.hidden_size, 512);
  EXPECT_EQ(text.max_position_embeddings, 77);
}

TEST(TextEncoderConfig, RefusesWhatItCannotCompute) {
  const std::pair<const char*, json> changes[] = {{"hidden_act", "relu"},
                                                  {"num_attention_heads", 5},
                                                  {"attention_dropout", 0.1},
                                                  {"vocab_size", 0},
                                                  {"model_type", "bert"},
                                                  {"architectures", {"CLIPTextModelWithProjection"}},
                                                  {"layer_norm_eps", -1},
                                                  {"invented_key", json::array()},
                                                  {"vocab_size", std::int64_t{1} << 40},
                                                  {"hidden_size", std::int64_t{1} << 40},
                                                  {"num_hidden_layers", 65}};
  for (const auto& [key, value] : changes) {
    json config = test::config_fixture("text_gelu");
    config[key] = value;
    EXPECT_THAT(test::refusal_of<TextEncoderConfig>(config), HasSubstr(key)) << value;
  }
  EXPECT_THAT(test::refusal_of<TextEncoderConfig>(json::array()), HasSubstr("array"));
}

// text_encoder/config.json of Stable Diffusion 1.5 and of 2.1, as published.
TEST(TextEncoderConfig, StableDiffusionsOwnFilesAreRead) {
  const json one = json::parse(R"({
    "_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["CLIPTextModel"], "attention_dropout": 0.0,
    "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768,
    "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 12, "num_hidden_layers": 12,
    "pad_token_id": 1, "projection_dim": 768, "torch_dtype": "float32", "transformers_version": "4.22.0.dev0",
    "vocab_size": 49408})");
  const TextEncoderConfig first = TextEncoderConfig::from_json(one, "x");
  EXPECT_EQ(first.hidden_size, 768);
  EXPECT_EQ(first.eos_token_id, 2);
  EXPECT_EQ(first.hidden_act, "quick_gelu");
  const json two = json::parse(R"({
    "_name_or_path": "hf-models/stable-diffusion-v2-768x768/text_encoder", "architectures": ["CLIPTextModel"],
    "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "hidden_act": "gelu",
    "hidden_size": 1024, "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 4096,
    "layer_norm_eps": 1e-05, "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 16,
    "num_hidden_layers": 23, "pad_token_id": 1, "projection_dim": 512, "torch_dtype": "float32",
    "transformers_version": "4.25.0.dev0", "vocab_size": 49408})");
  const TextEncoderConfig second = TextEncoderConfig::from_json(two, "x");
  EXPECT_EQ(second.num_hidden_layers, 23);
  EXPECT_EQ(second.hidden_act, "gelu");
}

}  // namespace
}  // namespace soup
