// Model folders in Stable Diffusion's form: with an AutoencoderKL, weights in several files or half precision, parts
// that soup has no use for; and each file that may be missing.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/fixture.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/autoencoder_kl.hpp"

namespace soup::test {
namespace {

using nlohmann::json;
using std::filesystem::path;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

DiffusionModel vae_model() {
  ModelConfig config = tiny_config();
  config.autoencoder = "AutoencoderKL";
  config.vae = AutoencoderKLConfig::from_json(read_json(fixture("vae") / "config.json"), "config.json");
  config.unet.in_channels = config.unet.out_channels = 4;
  const std::vector<std::string> captions = {"red", "green"};
  auto tokenizer =
      std::make_shared<Tokenizer>(Tokenizer::learn(captions, 520, config.text_encoder.max_position_embeddings));
  config.text_encoder.vocab_size = tokenizer->vocab_size();
  return make_model(config, tokenizer, SeedTree(1));
}

bool same_bits(const torch::nn::Module& one, const torch::nn::Module& other) {
  const auto a = one.named_parameters();
  const auto b = other.named_parameters();
  return a.keys() == b.keys() &&
         std::ranges::all_of(a, [&b](const auto& item) { return at::equal(item.value(), b[item.key()]); });
}

bool same_bits(const DiffusionModel& one, const DiffusionModel& other) {
  return same_bits(*one.unet, *other.unet) && same_bits(*one.text_encoder, *other.text_encoder) &&
         same_bits(*one.autoencoder->network(), *other.autoencoder->network());
}

// The tensors of a file with their bytes.
struct Contents {
  std::vector<TensorSource> sources;
  std::vector<std::vector<std::byte>> bytes;
};

Contents read_all(const path& file) {
  const SafetensorsFile opened(file);
  Contents contents;
  for (const TensorInfo& tensor : opened.tensors()) {
    const auto data = opened.bytes(tensor);
    contents.bytes.emplace_back(data.begin(), data.end());
    contents.sources.push_back({tensor.name, tensor.dtype, tensor.shape, contents.bytes.back()});
  }
  return contents;
}

class StableDiffusionFolder : public testing::Test {
 protected:
  StableDiffusionFolder() : model_(vae_model()) { save_model(root(), model_, {}); }
  const path& root() const { return folder_.path(); }
  path weights(const std::string& part) const {
    return root() / part / (part == "text_encoder" ? "model.safetensors" : "diffusion_pytorch_model.safetensors");
  }
  std::string refusal() {
    try {
      load_model(root());
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
  DiffusionModel model_;
};

TEST_F(StableDiffusionFolder, LoadsToTheSameBits) {
  const DiffusionModel loaded = load_model(root());
  EXPECT_TRUE(same_bits(loaded, model_));
  EXPECT_EQ(loaded.autoencoder->name(), "AutoencoderKL");
  EXPECT_EQ(loaded.config.autoencoder, "AutoencoderKL");
  EXPECT_EQ(loaded.config.vae.to_json(), model_.config.vae.to_json());
  EXPECT_THAT(loaded.remarks, IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(root() / "autoencoder"));
  EXPECT_EQ(read_json(root() / "model_index.json")["vae"], (json{"diffusers", "AutoencoderKL"}));
}

TEST_F(StableDiffusionFolder, WeightsInSeveralFiles) {
  for (const std::string part : {"unet", "text_encoder", "vae"}) {
    const Contents contents = read_all(weights(part));
    const std::string stem = weights(part).stem().string();
    json map;
    const std::size_t half = contents.sources.size() / 2;
    for (std::size_t i = 0; i < contents.sources.size(); ++i) {
      map[contents.sources[i].name] = stem + (i < half ? "-1.safetensors" : "-2.safetensors");
    }
    const std::span<const TensorSource> all(contents.sources);
    write_safetensors(root() / part / (stem + "-1.safetensors"), all.first(half), {});
    write_safetensors(root() / part / (stem + "-2.safetensors"), all.subspan(half), {});
    write_file_atomically(root() / part / (stem + ".safetensors.index.json"), json{{"weight_map", map}}.dump());
    std::filesystem::remove(weights(part));
  }
  EXPECT_TRUE(same_bits(load_model(root()), model_));
  // The same tensor in two files.
  const path second = root() / "vae" / "diffusion_pytorch_model-2.safetensors";
  Contents contents = read_all(second);
  const Contents first = read_all(root() / "vae" / "diffusion_pytorch_model-1.safetensors");
  contents.sources.push_back(first.sources[0]);
  write_safetensors(second, contents.sources, {});
  EXPECT_THAT(refusal(),
              AllOf(HasSubstr((root() / "vae").string()), HasSubstr(first.sources[0].name + " is there twice")));
}

TEST_F(StableDiffusionFolder, HalfPrecisionIsWidened) {
  const Contents contents = read_all(weights("vae"));
  std::vector<at::Tensor> halves;
  std::vector<TensorSource> sources;
  for (const TensorSource& source : contents.sources) {
    at::Tensor value = model_.autoencoder->network()->named_parameters()[source.name];
    halves.push_back(value.to(at::kHalf));
    value.copy_(halves.back());  // what is to be found
    sources.push_back({source.name,
                       DType::f16,
                       source.shape,
                       {static_cast<const std::byte*>(halves.back().const_data_ptr()), halves.back().nbytes()}});
  }
  write_safetensors(root() / "vae" / "diffusion_pytorch_model.fp16.safetensors", sources, {});
  std::filesystem::remove(weights("vae"));
  EXPECT_TRUE(same_bits(load_model(root()), model_));
}

TEST_F(StableDiffusionFolder, WeightsThatAreNotFiniteAreRefused) {
  for (const std::string part : {"unet", "text_encoder", "vae"}) {
    for (const float value : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      const std::string good = read_file(weights(part));
      Contents contents = read_all(weights(part));
      std::memcpy(contents.bytes[3].data(), &value, sizeof value);
      write_safetensors(weights(part), contents.sources, {});
      std::string name = contents.sources[3].name;
      EXPECT_THAT(refusal(), AllOf(HasSubstr(weights(part).string()), HasSubstr("holds NaN or Inf"),
                                   HasSubstr(part == "text_encoder" ? name.substr(11) : name)));
      write_file_atomically(weights(part), good);
    }
  }
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(StableDiffusionFolder, EveryFileThatIsMissingIsNamed) {
  const path needed[] = {"model_index.json",
                         "unet/config.json",
                         "unet/diffusion_pytorch_model.safetensors",
                         "text_encoder/config.json",
                         "text_encoder/model.safetensors",
                         "vae/config.json",
                         "vae/diffusion_pytorch_model.safetensors",
                         "scheduler/scheduler_config.json",
                         "tokenizer/vocab.json",
                         "tokenizer/merges.txt",
                         "tokenizer/tokenizer_config.json"};
  for (const path& file : needed) {
    std::filesystem::rename(root() / file, root() / "away");
    EXPECT_THAT(refusal(), HasSubstr((root() / file).string()));
    std::filesystem::rename(root() / "away", root() / file);
  }
  for (const char* part : {"unet", "text_encoder", "vae", "scheduler", "tokenizer"}) {
    std::filesystem::rename(root() / part, root() / "away");
    EXPECT_THAT(refusal(), HasSubstr((root() / part).string()));
    std::filesystem::rename(root() / "away", root() / part);
  }
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(StableDiffusionFolder, PartsWithoutUseAreLeftOutWithOneRemark) {
  json index = read_json(root() / "model_index.json");
  index["safety_checker"] = {"stable_diffusion", "StableDiffusionSafetyChecker"};
  index["feature_extractor"] = {"transformers", "CLIPImageProcessor"};
  write_file_atomically(root() / "model_index.json", index.dump());
  EXPECT_THAT(load_model(root()).remarks,
              ElementsAre(AllOf(HasSubstr(root().string()), HasSubstr("safety_checker (StableDiffusionSafetyChecker)"),
                                HasSubstr("feature_extractor (CLIPImageProcessor)"))));
}

TEST_F(StableDiffusionFolder, PartsMustFitTogether) {
  std::filesystem::create_directory(root() / "autoencoder");
  EXPECT_THAT(refusal(), HasSubstr("both vae/ and autoencoder/"));
  std::filesystem::remove(root() / "autoencoder");
  ModelConfig config = model_.config;
  config.unet.in_channels = config.unet.out_channels = 8;  // a multiple is not enough: the autoencoder has four
  EXPECT_THROW(make_model(config, model_.tokenizer, SeedTree(1)), ConfigError);
}

}  // namespace
}  // namespace soup::test
