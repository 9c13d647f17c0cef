// Outputs and gradients of the networks against diffusers' and transformers' own.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.hpp"
#include "tests/trainer/fixture.hpp"
#include "trainer/clip_text.hpp"
#include "trainer/unet.hpp"
#include "trainer/weight_file.hpp"

namespace soup::test {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

// The fixtures were computed in float64 and stored in float32, so in float64 nothing but that storage differs. In
// float32 groups with little variance amplify rounding: diffusers' own float32 gradients of unet_1 are off by up to
// 1.7e-3 of a tensor's largest (3e-5 in unet_2), its outputs by 3e-6; three times that is allowed here.
struct Precision {
  const char* name;
  at::ScalarType type;
  double output_tolerance;
  double gradient_tolerance;
};
constexpr Precision precisions[] = {{"float64", at::kDouble, 1e-6, 1e-6}, {"float32", at::kFloat, 1e-5, 5e-3}};

void expect_gradients(const torch::nn::Module& module, const Tensors& expected, double tolerance) {
  double largest = 0.0;
  std::size_t stored = 0;
  for (const auto& [name, tensor] : expected) {
    if (name.starts_with("gradient.")) {
      largest = std::max(largest, tensor.abs().max().item<double>());
      ++stored;
    }
  }
  const auto parameters = module.named_parameters();
  EXPECT_EQ(parameters.size(), stored);
  for (const auto& item : parameters) {
    ASSERT_TRUE(expected.contains("gradient." + item.key())) << item.key();
    const at::Tensor& gradient = expected.at("gradient." + item.key());
    ASSERT_EQ(item.value().grad().sizes(), gradient.sizes()) << item.key();
    const double difference = (item.value().grad() - gradient).abs().max().item<double>();
    // A gradient that cancels to almost nothing is judged by the size of the others.
    EXPECT_LE(difference, tolerance * std::max(gradient.abs().max().item<double>(), 1e-3 * largest)) << item.key();
  }
}

class NetworkParity : public testing::TestWithParam<std::tuple<const char*, Precision>> {
 protected:
  NetworkParity()
      : folder_(fixture(std::get<0>(GetParam()))),
        precision_(std::get<1>(GetParam())),
        expected_(read_tensors(folder_ / "case.safetensors")) {}

  // A floating-point input in the precision of the test.
  at::Tensor input(const std::string& name) const { return expected_.at(name).to(precision_.type); }
  void expect(const torch::nn::Module& module, const at::Tensor& output) const {
    EXPECT_LE(relative_error(output, expected_.at("output")), precision_.output_tolerance);
    at::mse_loss(output, input("target")).backward();
    expect_gradients(module, expected_, precision_.gradient_tolerance);
  }

  std::filesystem::path folder_;
  Precision precision_;
  Tensors expected_;
};

class UNetParity : public NetworkParity {};

TEST_P(UNetParity, OutputAndEveryGradient) {
  UNet2DConditionModel unet(UNetConfig::from_json(read_json(folder_ / "config.json"), "config.json"));
  load_weights(folder_ / "weights.safetensors", unet);
  unet.to(precision_.type);
  expect(unet, unet.forward(input("sample"), expected_.at("timesteps"), input("text")));
}

TEST_P(UNetParity, TimestepsMayBeFloats) {
  UNet2DConditionModel unet(UNetConfig::from_json(read_json(folder_ / "config.json"), "config.json"));
  load_weights(folder_ / "weights.safetensors", unet);
  unet.to(precision_.type);
  const at::NoGradGuard no_grad;
  const at::Tensor output = unet.forward(input("sample"), expected_.at("timesteps").to(at::kFloat), input("text"));
  EXPECT_LE(relative_error(output, expected_.at("output")), precision_.output_tolerance);
}

const auto name_of_case = [](const auto& info) {
  return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name;
};
INSTANTIATE_TEST_SUITE_P(Models, UNetParity,
                         testing::Combine(testing::Values("unet_1", "unet_2"), testing::ValuesIn(precisions)),
                         name_of_case);

class TextParity : public NetworkParity {};

TEST_P(TextParity, OutputAndEveryGradient) {
  CLIPTextModel text(TextEncoderConfig::from_json(read_json(folder_ / "config.json"), "config.json"));
  load_weights(folder_ / "weights.safetensors", text, "text_model.");
  text.to(precision_.type);
  expect(text, text.forward(expected_.at("ids")));
}

INSTANTIATE_TEST_SUITE_P(Activations, TextParity,
                         testing::Combine(testing::Values("text_quick_gelu", "text_gelu"),
                                          testing::ValuesIn(precisions)),
                         name_of_case);

TEST(Networks, WrongInputsAreRefused) {
  const auto folder = fixture("unet_1");
  UNet2DConditionModel unet(UNetConfig::from_json(read_json(folder / "config.json"), "config.json"));
  const at::Tensor sample = at::zeros({2, 3, 8, 8});
  const at::Tensor timesteps = at::zeros({2}, at::kLong);
  const at::Tensor text = at::zeros({2, 5, 6});
  EXPECT_THROW(unet.forward(at::zeros({2, 4, 8, 8}), timesteps, text), InvariantError);
  EXPECT_THROW(unet.forward(sample, at::zeros({3}, at::kLong), text), InvariantError);
  EXPECT_THROW(unet.forward(sample, timesteps, at::zeros({2, 5, 7})), InvariantError);
  CLIPTextModel encoder(TextEncoderConfig::from_json(read_json(fixture("text_gelu") / "config.json"), "config.json"));
  EXPECT_THROW(encoder.forward(at::zeros({1, 10}, at::kLong)), InvariantError);
}

}  // namespace
}  // namespace soup::test
