// Outputs and gradients of the networks against diffusers' and transformers' own.
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "core/error.hpp"
#include "tests/trainer/fixture.hpp"
#include "trainer/attention.hpp"
#include "trainer/clip_text.hpp"
#include "trainer/unet.hpp"
#include "trainer/weight_file.hpp"

namespace soup::test {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

// The fixtures were computed in float64 and stored in float32, so in float64 nothing but that storage differs. In
// float32 diffusers' own outputs are off by up to 6e-7 of the largest value and its gradients by up to 9e-6 of a
// tensor's largest; the limits are ten times that.
struct Precision {
  const char* name;
  at::ScalarType type;
  double output_tolerance;
  double gradient_tolerance;
};
constexpr Precision precisions[] = {{"float64", at::kDouble, 1e-6, 1e-6}, {"float32", at::kFloat, 1e-5, 1e-4}};

double largest_gradient(const Tensors& expected) {
  double largest = 0.0;
  for (const auto& [name, tensor] : expected) {
    if (name.starts_with("gradient.")) {
      largest = std::max(largest, tensor.abs().max().item<double>());
    }
  }
  return largest;
}

// A key's bias shifts all scores of a query alike: its gradient is zero, and nothing but rounding is left of it.
bool has_no_gradient(const std::string& name) {
  return name.ends_with("k_proj.bias");
}

class NetworkParity : public testing::TestWithParam<std::tuple<const char*, Precision>> {
 protected:
  NetworkParity()
      : folder_(fixture(std::get<0>(GetParam()))),
        precision_(std::get<1>(GetParam())),
        expected_(read_tensors(folder_ / "case.safetensors")) {}

  // A floating-point input in the precision of the test; undefined where the case has none of that name.
  at::Tensor input(const std::string& name) const {
    const auto found = expected_.find(name);
    return found == expected_.end() ? at::Tensor() : found->second.to(precision_.type);
  }
  void expect(const torch::nn::Module& module, const at::Tensor& output) const {
    EXPECT_LE(relative_error(output, expected_.at("output")), precision_.output_tolerance);
    at::mse_loss(output, input("target")).backward();
    const at::NoGradGuard no_grad;
    std::size_t compared = 0;
    for (const auto& item : module.named_parameters()) {
      const at::Tensor found = item.value().grad();
      EXPECT_TRUE(agrees(item.key(), found)) << item.key();
      // And the comparison can fail: one value off by a thousandth of the tensor's largest is noticed.
      if (!has_no_gradient(item.key())) {
        at::Tensor wrong = found.clone(at::MemoryFormat::Contiguous);
        wrong.view(-1)[0].add_(found.abs().max(), 1e-3);
        EXPECT_FALSE(agrees(item.key(), wrong)) << item.key();
      }
      ++compared;
    }
    const auto is_gradient = [](const auto& stored) { return stored.first.starts_with("gradient."); };
    EXPECT_EQ(compared, static_cast<std::size_t>(std::ranges::count_if(expected_, is_gradient)));
  }
  // By the largest value of the tensor itself.
  bool agrees(const std::string& name, const at::Tensor& found) const {
    const at::Tensor& gradient = expected_.at("gradient." + name);
    const double size =
        has_no_gradient(name) ? 1e-3 * largest_gradient(expected_) : gradient.abs().max().item<double>();
    return found.sizes() == gradient.sizes() &&
           (found - gradient).abs().max().item<double>() <= precision_.gradient_tolerance * size;
  }

  std::filesystem::path folder_;
  Precision precision_;
  Tensors expected_;
};

class UNetParity : public NetworkParity {};

TEST_P(UNetParity, OutputAndEveryGradient) {
  UNet2DConditionModel unet(UNetConfig::from_json(read_json(folder_ / "config.json"), "config.json"));
  load_weights({folder_ / "weights.safetensors"}, unet);
  unet.to(precision_.type);
  expect(unet, unet.forward(input("sample"), expected_.at("timesteps"), input("text")));
}

TEST_P(UNetParity, TimestepsMayBeFloats) {
  UNet2DConditionModel unet(UNetConfig::from_json(read_json(folder_ / "config.json"), "config.json"));
  load_weights({folder_ / "weights.safetensors"}, unet);
  unet.to(precision_.type);
  const at::NoGradGuard no_grad;
  const at::Tensor output = unet.forward(input("sample"), expected_.at("timesteps").to(at::kFloat), input("text"));
  EXPECT_LE(relative_error(output, expected_.at("output")), precision_.output_tolerance);
}

const auto name_of_case = [](const auto& info) {
  return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param).name;
};
INSTANTIATE_TEST_SUITE_P(Models, UNetParity,
                         testing::Combine(testing::Values("unet_1", "unet_2", "unet_levels", "unet_unconditional",
                                                          "unet_plain_mid", "unet_no_mid"),
                                          testing::ValuesIn(precisions)),
                         name_of_case);

class TextParity : public NetworkParity {};

TEST_P(TextParity, OutputAndEveryGradient) {
  CLIPTextModel text(TextEncoderConfig::from_json(read_json(folder_ / "config.json"), "config.json"));
  load_weights({folder_ / "weights.safetensors"}, text, text_encoder_name);
  text.to(precision_.type);
  expect(text, text.forward(expected_.at("ids")));
}

TEST_P(TextParity, ThePenultimateState) {
  CLIPTextModel text(TextEncoderConfig::from_json(read_json(folder_ / "config.json"), "config.json"));
  load_weights({folder_ / "weights.safetensors"}, text, text_encoder_name);
  text.to(precision_.type);
  const at::NoGradGuard no_grad;
  EXPECT_LE(relative_error(text.forward(expected_.at("ids"), 2), expected_.at("penultimate")),
            precision_.output_tolerance);
  EXPECT_THROW(text.forward(expected_.at("ids"), 0), ConfigError);
  EXPECT_THROW(text.forward(expected_.at("ids"), 3), ConfigError);
}

INSTANTIATE_TEST_SUITE_P(Activations, TextParity,
                         testing::Combine(testing::Values("text_quick_gelu", "text_gelu", "text_gelu_new"),
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
  EXPECT_THROW(unet.forward(sample, timesteps, {}), InvariantError);
  CLIPTextModel encoder(TextEncoderConfig::from_json(read_json(fixture("text_gelu") / "config.json"), "config.json"));
  EXPECT_THROW(encoder.forward(at::zeros({1, 10}, at::kLong)), InvariantError);
}

// Queries and keys large enough that the scores' precision shows in the result.
TEST(Networks, UpcastAttentionScoresInFloat32) {
  at::manual_seed(3);
  const at::NoGradGuard no_grad;
  Attention plain(8, 8, 2, /*upcast=*/false);
  Attention upcast(8, 8, 2, /*upcast=*/true);
  for (const auto& item : plain.named_parameters()) {
    at::Tensor parameter = item.value();
    parameter.copy_(at::randn(parameter.sizes()) * (item.key().starts_with("to_v") ? 1.0 : 2.0));
    upcast.named_parameters()[item.key()].copy_(parameter);
  }
  const at::Tensor tokens = at::randn({2, 6, 8}).to(at::kBFloat16).to(at::kFloat);
  const at::Tensor exact = plain.forward(tokens, tokens);
  EXPECT_TRUE(at::equal(upcast.forward(tokens, tokens), exact));  // no difference in float32

  // Under autocast the maps around the scores are bfloat16's in both, and so is the result.
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const at::Tensor narrow = plain.forward(tokens, tokens);
  const at::Tensor wide = upcast.forward(tokens, tokens);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  const auto weights = plain.named_parameters();
  const auto map = [&weights](const std::string& name, const at::Tensor& input) {
    const at::Tensor* bias = weights.find(name + ".bias");
    const auto narrowed = [](const at::Tensor& tensor) { return tensor.to(at::kBFloat16); };
    return at::linear(narrowed(input), narrowed(weights[name + ".weight"]), bias ? narrowed(*bias) : at::Tensor());
  };
  const auto heads = [&](const std::string& name) {
    return map(name, tokens).unflatten(-1, {2, 4}).transpose(1, 2).to(at::kFloat);
  };
  const at::Tensor attended = at::scaled_dot_product_attention(heads("to_q"), heads("to_k"), heads("to_v"));
  EXPECT_TRUE(at::equal(wide, map("to_out.0", attended.transpose(1, 2).flatten(2))));
  EXPECT_FALSE(at::equal(narrow, wide));
}

}  // namespace
}  // namespace soup::test
