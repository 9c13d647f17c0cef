// Model folders: saved and loaded to the same bits, strict about what does not fit; and fresh weights.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/fixture.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/weight_file.hpp"

namespace soup::test {
namespace {

using nlohmann::json;
using std::filesystem::path;
using testing::HasSubstr;

bool same_bits(const torch::nn::Module& one, const torch::nn::Module& other) {
  const auto a = one.named_parameters();
  const auto b = other.named_parameters();
  if (a.keys() != b.keys()) {
    return false;
  }
  return std::ranges::all_of(a, [&b](const auto& item) { return at::equal(item.value(), b[item.key()]); });
}

class ModelFolder : public testing::Test {
 protected:
  ModelFolder() : model_(tiny_model()) { save_model(path_(), model_, {{"images", "7"}}); }
  const path& path_() const { return folder_.path(); }
  path unet_file() const { return path_() / "unet" / "diffusion_pytorch_model.safetensors"; }
  path text_file() const { return path_() / "text_encoder" / "model.safetensors"; }
  void change(const path& file, const std::function<void(json&)>& edit) {
    json value = read_json(file);
    edit(value);
    write_file_atomically(file, value.dump());
  }
  // Writes the weights file anew with tensors renamed, dropped ("" as the new name) or added.
  void rename_tensors(const path& file, const std::function<std::string(const std::string&)>& new_name,
                      const std::vector<TensorSource>& added = {}) {
    std::vector<TensorSource> sources;
    const SafetensorsFile old(file);
    for (const TensorInfo& tensor : old.tensors()) {
      if (const std::string name = new_name(tensor.name); !name.empty()) {
        sources.push_back({name, tensor.dtype, tensor.shape, old.bytes(tensor)});
      }
    }
    sources.insert(sources.end(), added.begin(), added.end());
    write_safetensors(file, sources, old.metadata());
  }
  std::string message(WeightSet weights = WeightSet::raw) {
    try {
      load_model(path_(), weights);
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
  DiffusionModel model_;
};

TEST_F(ModelFolder, LoadsToTheSameBits) {
  const DiffusionModel loaded = load_model(path_());
  EXPECT_TRUE(same_bits(*loaded.unet, *model_.unet));
  EXPECT_TRUE(same_bits(*loaded.text_encoder, *model_.text_encoder));
  EXPECT_EQ(loaded.config.unet.to_json(), model_.config.unet.to_json());
  EXPECT_EQ(loaded.config.text_encoder.to_json(), model_.config.text_encoder.to_json());
  EXPECT_EQ(loaded.config.schedule.to_json(), model_.config.schedule.to_json());
  EXPECT_EQ(loaded.autoencoder->name(), "identity");
  std::int64_t truncated = 0;
  const std::vector<std::string> captions = {"red", "a very long caption of many small letters"};
  EXPECT_TRUE(at::equal(loaded.encode_text(captions), model_.encode_text(captions, &truncated)));
  EXPECT_EQ(truncated, 1);
}

TEST_F(ModelFolder, SavingIsAFunctionOfTheModel) {
  const TemporaryFolder other;
  save_model(other.path(), load_model(path_()), {{"images", "7"}});
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path_())) {
    if (entry.is_regular_file()) {
      EXPECT_EQ(read_file(entry.path()), read_file(other.path() / entry.path().lexically_relative(path_())));
      ++files;
    }
  }
  EXPECT_EQ(files, 11U);  // index, 2 x (config, weights), 4 of the tokenizer, scheduler, autoencoder
}

TEST_F(ModelFolder, MetadataIsInBothFiles) {
  for (const path& file : {unet_file(), text_file()}) {
    const SafetensorsFile opened(file);
    EXPECT_EQ(opened.metadata().at("format"), "pt");
    EXPECT_EQ(opened.metadata().at("images"), "7");
  }
}

TEST_F(ModelFolder, EmaWeightsPerPart) {
  DiffusionModel other = tiny_model();
  {
    const at::NoGradGuard no_grad;
    other.unet->named_parameters()["conv_in.weight"].mul_(2.0);
  }
  save_unet(path_() / "unet_ema", *other.unet, {});
  const DiffusionModel ema = load_model(path_(), WeightSet::ema);
  EXPECT_TRUE(same_bits(*ema.unet, *other.unet));
  EXPECT_TRUE(same_bits(*ema.text_encoder, *model_.text_encoder));  // no text_encoder_ema: raw
  EXPECT_TRUE(same_bits(*load_model(path_()).unet, *model_.unet));
}

TEST_F(ModelFolder, TextEncoderHasTheNamesThatTransformers4And5Read) {
  const SafetensorsFile file(text_file());
  EXPECT_NE(file.find("text_model.final_layer_norm.weight"), nullptr);
  for (const TensorInfo& tensor : file.tensors()) {
    EXPECT_TRUE(tensor.name.starts_with("text_model.")) << tensor.name;
  }
}

TEST_F(ModelFolder, OtherFormsOfTheTextEncoderAreRead) {
  const std::size_t prefix = std::string("text_model.").size();
  // transformers before 4.31 also stored the buffer of positions.
  const std::vector<std::int64_t> positions = {0, 1, 2, 3, 4, 5, 6, 7};
  const std::vector<TensorSource> buffer = {
      {"text_model.embeddings.position_ids", DType::i64, {1, 8}, std::as_bytes(std::span(positions))}};
  rename_tensors(
      text_file(), [](const std::string& name) { return name; }, buffer);
  EXPECT_TRUE(same_bits(*load_model(path_()).text_encoder, *model_.text_encoder));
  // transformers 5 writes a model of its own making without the prefix.
  const auto bare = [prefix](const std::string& name) {
    return name.ends_with("position_ids") ? std::string() : name.substr(prefix);
  };
  rename_tensors(text_file(), bare);
  EXPECT_TRUE(same_bits(*load_model(path_()).text_encoder, *model_.text_encoder));
}

TEST_F(ModelFolder, TensorsThatDoNotFitAreListedTogether) {
  const std::vector<float> extra = {1.0F};
  rename_tensors(unet_file(), [](const std::string& name) { return name == "conv_in.bias" ? "" : name; },
                 {{"conv_in.scale", DType::f32, {1}, std::as_bytes(std::span(extra))}});
  change(path_() / "unet" / "config.json", [](json& config) {
    config["out_channels"] = 6;
    config["in_channels"] = 6;
  });
  const std::string text = message();
  EXPECT_THAT(text, HasSubstr("conv_in.bias is missing"));
  EXPECT_THAT(text, HasSubstr("conv_in.scale is not a tensor"));
  EXPECT_THAT(text, HasSubstr("conv_in.weight has shape [8, 3, 3, 3], the configuration needs [8, 6, 3, 3]"));
  EXPECT_THAT(text, HasSubstr(unet_file().string()));
}

TEST_F(ModelFolder, IntegerWeightsAreRefused) {
  const std::vector<std::int32_t> integers(8, 1);
  rename_tensors(unet_file(), [](const std::string& name) { return name == "conv_in.bias" ? "" : name; },
                 {{"conv_in.bias", DType::i32, {8}, std::as_bytes(std::span(integers))}});
  EXPECT_THAT(message(), HasSubstr("conv_in.bias has type I32"));
}

TEST_F(ModelFolder, PicklesAreNotOpened) {
  std::filesystem::rename(unet_file(), path_() / "unet" / "diffusion_pytorch_model.bin");
  EXPECT_THAT(message(), HasSubstr("pickle"));
}

TEST_F(ModelFolder, MissingOrForeignFilesAreNamed) {
  change(path_() / "model_index.json", [](json& index) { index["unet"][1] = "UNet2DModel"; });
  EXPECT_THAT(message(), HasSubstr("UNet2DModel"));
  std::filesystem::remove(path_() / "model_index.json");
  EXPECT_THAT(message(), HasSubstr("model_index.json"));
}

TEST_F(ModelFolder, BrokenPartsAreNamed) {
  const path autoencoder = path_() / "autoencoder" / "config.json";
  change(autoencoder, [](json& config) { config["version"] = 2; });
  EXPECT_THAT(message(), HasSubstr(autoencoder.string()));
  change(autoencoder, [](json& config) { config = {{"version", 1}, {"name", "jpeg"}}; });
  EXPECT_THAT(message(), HasSubstr("jpeg"));
  std::filesystem::remove(autoencoder);
  std::filesystem::create_directory(path_() / "vae");
  EXPECT_THAT(message(), HasSubstr("vae"));
}

TEST_F(ModelFolder, PartsThatDoNotFitTogether) {
  change(path_() / "unet" / "config.json", [](json& config) { config["cross_attention_dim"] = 20; });
  EXPECT_THAT(message(), HasSubstr("cross_attention_dim"));
}

TEST_F(ModelFolder, NetworksBeyondTheMemoryAreNoBugOfOurs) {
  change(path_() / "unet" / "config.json", [](json& config) { config["cross_attention_dim"] = 65536; });
  change(path_() / "text_encoder" / "config.json", [](json& config) {
    config["hidden_size"] = 65536;
    config["vocab_size"] = 1 << 24;  // 4 TiB of embeddings
  });
  // A system that promises any memory finds the shapes wrong.
  EXPECT_THAT(message(), testing::AnyOf(HasSubstr("cannot be built"), HasSubstr("the configuration needs")));
}

TEST_F(ModelFolder, TruncatedWeights) {
  std::filesystem::resize_file(unet_file(), std::filesystem::file_size(unet_file()) - 4);
  EXPECT_THAT(message(), HasSubstr(unet_file().string()));
}

TEST(FreshWeights, DependOnTheRootSeedOnly) {
  at::manual_seed(1);
  const DiffusionModel one = tiny_model();
  at::manual_seed(2);
  const DiffusionModel other = tiny_model();
  EXPECT_TRUE(same_bits(*one.unet, *other.unet));
  EXPECT_TRUE(same_bits(*one.text_encoder, *other.text_encoder));
  const DiffusionModel third = make_model(one.config, one.tokenizer, SeedTree(2));
  EXPECT_FALSE(same_bits(*one.unet, *third.unet));
}

TEST(FreshWeights, HaveTheLibrariesDistributions) {
  ModelConfig config;
  config.text_encoder.vocab_size = 600;
  const std::vector<std::string> none;
  const DiffusionModel model =
      make_model(config, std::make_shared<Tokenizer>(Tokenizer::learn(none, 514, 16)), SeedTree(4));
  const auto unet = model.unet->named_parameters();
  // Uniform within 1 / sqrt(fan in): standard deviation bound / sqrt(3).
  const std::pair<const char*, double> bounds[] = {{"up_blocks.0.resnets.0.conv1.weight", 1 / std::sqrt(256 * 9.0)},
                                                   {"time_embedding.linear_2.weight", 1 / std::sqrt(192.0)},
                                                   {"mid_block.attentions.0.proj_in.weight", 1 / std::sqrt(128.0)}};
  for (const auto& [name, bound] : bounds) {
    EXPECT_LE(unet[name].abs().max().item<double>(), bound) << name;
    EXPECT_GE(unet[name].abs().max().item<double>(), 0.999 * bound) << name;
    EXPECT_NEAR(unet[name].std().item<double>(), bound / std::sqrt(3.0), 0.02 * bound) << name;
  }
  const at::Tensor bias = unet["up_blocks.0.resnets.0.conv1.bias"];
  EXPECT_LE(bias.abs().max().item<double>(), 1 / std::sqrt(256 * 9.0));
  EXPECT_GT(bias.abs().max().item<double>(), 0.8 / std::sqrt(256 * 9.0));
  EXPECT_TRUE(at::equal(unet["conv_norm_out.weight"], at::ones({48})));
  EXPECT_TRUE(at::equal(unet["conv_norm_out.bias"], at::zeros({48})));
  // transformers' CLIPPreTrainedModel._init_weights with width 96 and 2 layers.
  const auto text = model.text_encoder->named_parameters();
  const std::pair<const char*, double> deviations[] = {
      {"embeddings.token_embedding.weight", 0.02},
      {"encoder.layers.1.self_attn.q_proj.weight", 1 / std::sqrt(96.0 * 4)},
      {"encoder.layers.0.self_attn.out_proj.weight", 1 / std::sqrt(96.0)},
      {"encoder.layers.0.mlp.fc1.weight", 1 / std::sqrt(192.0)},
      {"encoder.layers.1.mlp.fc2.weight", 1 / std::sqrt(96.0 * 4)}};
  for (const auto& [name, deviation] : deviations) {
    EXPECT_NEAR(text[name].std().item<double>(), deviation, 0.03 * deviation) << name;
  }
  EXPECT_TRUE(at::equal(text["encoder.layers.0.mlp.fc1.bias"], at::zeros({384})));
  EXPECT_TRUE(at::equal(text["final_layer_norm.weight"], at::ones({96})));
}

TEST(FreshWeights, PartsMustFitTogether) {
  const std::vector<std::string> none;
  auto tokenizer = std::make_shared<Tokenizer>(Tokenizer::learn(none, 514, 16));
  ModelConfig config;
  config.unet.cross_attention_dim = 64;
  EXPECT_THROW(make_model(config, tokenizer, SeedTree(1)), ConfigError);
  config = ModelConfig();
  config.text_encoder.vocab_size = 513;
  EXPECT_THROW(make_model(config, tokenizer, SeedTree(1)), ConfigError);
  config = ModelConfig();
  config.text_encoder.max_position_embeddings = 15;
  EXPECT_THROW(make_model(config, tokenizer, SeedTree(1)), ConfigError);
  config = ModelConfig();
  config.unet.in_channels = config.unet.out_channels = 3;  // space_to_depth_2 gives multiples of 4
  EXPECT_THROW(make_model(config, tokenizer, SeedTree(1)), ConfigError);
}

}  // namespace
}  // namespace soup::test
