// AutoencoderKL against diffusers' own, and as the rest of soup uses it.
#include "trainer/autoencoder_kl.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/fixture.hpp"
#include "trainer/initialise.hpp"
#include "trainer/weight_file.hpp"

namespace soup::test {
namespace {

using testing::HasSubstr;

std::shared_ptr<AutoencoderKL> load(const std::string& name) {
  auto network = std::make_shared<AutoencoderKL>(
      AutoencoderKLConfig::from_json(read_json(fixture(name) / "config.json"), "config.json"));
  load_weights({fixture(name) / "weights.safetensors"}, *network, autoencoder_name);
  return network;
}

class AutoencoderKLParity : public testing::TestWithParam<const char*> {
 protected:
  AutoencoderKLParity()
      : network_(load(GetParam())),
        autoencoder_(make_autoencoder(network_)),
        expected_(read_tensors(fixture(GetParam()) / "case.safetensors")) {}

  // The case was computed in float64: in float64 nothing but its storage in float32 differs.
  void expect(at::ScalarType type, double tolerance) {
    network_->to(type);
    const at::Tensor moments = autoencoder_->encode(expected_.at("images").to(type));
    EXPECT_LE(relative_error(moments, expected_.at("moments")), tolerance);
    EXPECT_LE(relative_error(autoencoder_->latents(moments, {}), expected_.at("mean_latents")), tolerance);
    EXPECT_LE(
        relative_error(autoencoder_->latents(moments, expected_.at("noise").to(type)), expected_.at("sampled_latents")),
        tolerance);
    EXPECT_LE(relative_error(autoencoder_->decode(expected_.at("latents").to(type)), expected_.at("decoded")),
              tolerance);
  }

  std::shared_ptr<AutoencoderKL> network_;
  std::unique_ptr<Autoencoder> autoencoder_;
  std::map<std::string, at::Tensor> expected_;
};

TEST_P(AutoencoderKLParity, InFloat64) {
  expect(at::kDouble, 1e-6);
}

TEST_P(AutoencoderKLParity, InFloat32) {
  expect(at::kFloat, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Models, AutoencoderKLParity, testing::Values("vae", "vae_plain"));

TEST(AutoencoderKL, SaysWhatItIs) {
  const auto autoencoder = make_autoencoder(load("vae"));
  EXPECT_EQ(autoencoder->name(), "AutoencoderKL");
  EXPECT_EQ(autoencoder->factor(), 4);
  EXPECT_EQ(autoencoder->latent_channels(3), 4);
  EXPECT_TRUE(autoencoder->samples());
  ASSERT_NE(autoencoder->network(), nullptr);
  for (const at::Tensor& parameter : autoencoder->network()->parameters()) {
    EXPECT_FALSE(parameter.requires_grad());
  }
}

TEST(AutoencoderKL, AnImagesMomentsDoNotDependOnItsBatch) {
  const auto autoencoder = make_autoencoder(load("vae"));
  const at::Tensor images = read_tensors(fixture("vae") / "case.safetensors").at("images");
  EXPECT_TRUE(at::equal(autoencoder->encode(images)[1], autoencoder->encode(images.narrow(0, 1, 1))[0]));
  EXPECT_EQ(autoencoder->encode(images.narrow(0, 0, 0).to(at::kFloat)).size(0), 0);
}

// Kingma and Welling 2014: latents are mean + exp(log variance / 2) noise; diffusers limits the logarithm to -30
// ... 20.
TEST(AutoencoderKL, LatentsAreDrawnFromTheMoments) {
  const auto autoencoder = make_autoencoder(load("vae_plain"));  // scaling factor 1/2, two channels
  const double log_variances[] = {0.0, std::log(4.0), -100.0, 100.0};
  const double deviations[] = {1.0, 2.0, std::exp(-15.0), std::exp(10.0)};
  for (int i = 0; i < 4; ++i) {
    at::Tensor moments = at::full({1, 4, 1, 1}, 3.0, at::kDouble);
    moments.narrow(1, 2, 2).fill_(log_variances[i]);
    const at::Tensor noise = at::full({1, 2, 1, 1}, -2.0, at::kDouble);
    const at::Tensor latents = autoencoder->latents(moments, noise);
    EXPECT_NEAR(latents[0][1].item<double>(), 0.5 * (3.0 - 2.0 * deviations[i]), 1e-9 * deviations[i]);
  }
  EXPECT_THROW(autoencoder->latents(at::zeros({1, 4, 1, 1}), at::zeros({2})), InvariantError);
}

TEST(AutoencoderKL, WrongShapesAreRefused) {
  const auto network = load("vae");
  EXPECT_THROW(network->encode(at::zeros({1, 1, 8, 8})), InvariantError);
  EXPECT_THROW(network->encode(at::zeros({1, 3, 8, 10})), InvariantError);
  EXPECT_THROW(network->decode(at::zeros({1, 3, 4, 4})), InvariantError);
  AutoencoderKLConfig impossible;
  impossible.norm_num_groups = 3;
  EXPECT_THROW(AutoencoderKL{impossible}, ConfigError);
}

TEST(AutoencoderKL, FreshWeightsDependOnTheSeedOnly) {
  const AutoencoderKLConfig config = AutoencoderKLConfig::from_json(read_json(fixture("vae") / "config.json"), "x");
  AutoencoderKL one(config);
  AutoencoderKL other(config);
  initialise(one, "vae", SeedTree(3));
  initialise(other, "vae", SeedTree(3));
  const at::Tensor weight = one.named_parameters()["decoder.up_blocks.0.resnets.0.conv1.weight"];
  EXPECT_TRUE(at::equal(weight, other.named_parameters()["decoder.up_blocks.0.resnets.0.conv1.weight"]));
  EXPECT_LE(weight.abs().max().item<double>(), 1 / std::sqrt(72.0));  // 8 channels of 3 x 3
  EXPECT_GT(weight.abs().max().item<double>(), 0.9 / std::sqrt(72.0));
  EXPECT_TRUE(at::equal(one.named_parameters()["encoder.conv_norm_out.weight"], at::ones({8})));
  initialise(other, "vae", SeedTree(4));
  EXPECT_FALSE(at::equal(weight, other.named_parameters()["decoder.up_blocks.0.resnets.0.conv1.weight"]));
}

// Files from before diffusers 0.16 name the attention's maps otherwise, some as 1 x 1 convolutions.
class OldAutoencoderFile : public testing::TestWithParam<bool> {};

TEST_P(OldAutoencoderFile, IsReadToTheSameBits) {
  const std::pair<std::string, std::string> renamed[] = {
      {".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}};
  const SafetensorsFile file(fixture("vae") / "weights.safetensors");
  std::vector<TensorSource> sources;
  std::size_t changed = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    TensorSource source{tensor.name, tensor.dtype, tensor.shape, file.bytes(tensor)};
    for (const auto& [new_name, old_name] : renamed) {
      if (const std::size_t at = source.name.find(new_name); at != std::string::npos) {
        source.name.replace(at, new_name.size(), old_name);
        if (GetParam() && source.shape.size() == 2) {
          source.shape.insert(source.shape.end(), {1, 1});
        }
        ++changed;
      }
    }
    sources.push_back(source);
  }
  EXPECT_EQ(changed, 16U);  // weight and bias of 4 maps in encoder and decoder
  const TemporaryFolder folder;
  write_safetensors(folder.path() / "old.safetensors", sources, {});
  const auto expected = load("vae");
  AutoencoderKL found(expected->config());
  load_weights({folder.path() / "old.safetensors"}, found, autoencoder_name);
  for (const auto& item : expected->named_parameters()) {
    EXPECT_TRUE(at::equal(found.named_parameters()[item.key()], item.value())) << item.key();
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, OldAutoencoderFile, testing::Bool());

TEST(AutoencoderKL, AConvolutionIsNoLinearMapUnderItsCurrentName) {
  const SafetensorsFile file(fixture("vae") / "weights.safetensors");
  std::vector<TensorSource> sources;
  for (const TensorInfo& tensor : file.tensors()) {
    sources.push_back({tensor.name, tensor.dtype, tensor.shape, file.bytes(tensor)});
    if (tensor.name.ends_with("to_q.weight")) {
      sources.back().shape.insert(sources.back().shape.end(), {1, 1});
    }
  }
  const TemporaryFolder folder;
  write_safetensors(folder.path() / "wrong.safetensors", sources, {});
  AutoencoderKL network(load("vae")->config());
  try {
    load_weights({folder.path() / "wrong.safetensors"}, network, autoencoder_name);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("to_q.weight has shape [8, 8, 1, 1], the configuration needs [8, 8]"));
  }
}

}  // namespace
}  // namespace soup::test
