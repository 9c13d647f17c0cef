// Fresh weights, parameter by parameter from its own named stream.
#include "trainer/initialise.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <span>

namespace soup {
namespace {

std::span<float> values(at::Tensor& parameter) {
  return {parameter.mutable_data_ptr<float>(), static_cast<std::size_t>(parameter.numel())};
}

void fill_uniform(at::Tensor& parameter, double bound, RandomStream stream) {
  for (float& value : values(parameter)) {
    value = static_cast<float>((2.0 * stream.uniform() - 1.0) * bound);
  }
}

void fill_normal(at::Tensor& parameter, double deviation, RandomStream stream) {
  stream.fill_normal(values(parameter));
  parameter.mul_(deviation);
}

// Standard deviation of a text encoder's weight matrix, by the part it belongs to.
double clip_deviation(const std::string& name, const TextEncoderConfig& config) {
  const double width = static_cast<double>(config.hidden_size);
  const double depth = 2.0 * static_cast<double>(config.num_hidden_layers);
  if (name.ends_with("_embedding.weight")) {
    return 0.02;
  }
  if (name.ends_with("out_proj.weight")) {
    return 1.0 / std::sqrt(width);
  }
  if (name.ends_with("fc1.weight")) {
    return 1.0 / std::sqrt(2.0 * width);
  }
  return 1.0 / std::sqrt(width * depth);  // q_proj, k_proj, v_proj, fc2
}

void initialise_convolutions(torch::nn::Module& network, const std::string& prefix, SeedTree seeds) {
  const at::NoGradGuard no_grad;
  const auto parameters = network.named_parameters();
  for (const auto& item : parameters) {
    const std::string& name = item.key();
    at::Tensor parameter = item.value();
    const bool is_bias = name.ends_with(".bias");
    const at::Tensor weight = is_bias ? parameters[name.substr(0, name.size() - 4) + "weight"] : parameter;
    if (weight.dim() == 1) {  // a norm
      parameter.fill_(is_bias ? 0.0 : 1.0);
      continue;
    }
    const double fan_in = static_cast<double>(weight.numel() / weight.size(0));
    fill_uniform(parameter, 1.0 / std::sqrt(fan_in), seeds.stream("init", prefix + "." + name, 0));
  }
}

}  // namespace

void initialise(UNet2DConditionModel& unet, const std::string& prefix, SeedTree seeds) {
  initialise_convolutions(unet, prefix, seeds);
}

void initialise(AutoencoderKL& vae, const std::string& prefix, SeedTree seeds) {
  initialise_convolutions(vae, prefix, seeds);
}

void initialise(CLIPTextModel& text, const std::string& prefix, SeedTree seeds) {
  const at::NoGradGuard no_grad;
  for (const auto& item : text.named_parameters()) {
    const std::string& name = item.key();
    at::Tensor parameter = item.value();
    if (parameter.dim() == 1) {
      parameter.fill_(name.ends_with(".weight") ? 1.0 : 0.0);
    } else {
      fill_normal(parameter, clip_deviation(name, text.config()), seeds.stream("init", prefix + "." + name, 0));
    }
  }
}

}  // namespace soup
