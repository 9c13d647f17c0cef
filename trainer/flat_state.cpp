// Weights, gradients and optimizer state as flat buffers.
#include "trainer/flat_state.hpp"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <algorithm>

#include "core/error.hpp"

namespace soup {

namespace {

struct Parameter {
  std::string name;
  at::Tensor tensor;
};

std::vector<Parameter> trainable_parameters(const std::vector<std::pair<std::string, torch::nn::Module*>>& parts) {
  std::vector<Parameter> parameters;
  for (const auto& [part, module] : parts) {
    for (const auto& item : module->named_parameters()) {
      parameters.push_back({part + "." + item.key(), item.value()});
    }
  }
  // Matrices and filters decay, biases and norms do not: as two runs of the buffer each is one fused optimizer call.
  std::stable_partition(parameters.begin(), parameters.end(),
                        [](const Parameter& parameter) { return parameter.tensor.dim() >= 2; });
  return parameters;
}

}  // namespace

std::span<float> flat_span(at::Tensor& flat) {
  return {flat.data_ptr<float>(), static_cast<std::size_t>(flat.numel())};
}

FlatState::FlatState(const std::vector<std::pair<std::string, torch::nn::Module*>>& parts) {
  const std::vector<Parameter> parameters = trainable_parameters(parts);
  for (const Parameter& parameter : parameters) {
    SOUP_REQUIRE(parameter.tensor.scalar_type() == at::kFloat, "parameter " + parameter.name + " is not float32");
    layout_.append(parameter.name, parameter.tensor.sizes().vec());
    if (parameter.tensor.dim() >= 2) {
      decayed_count_ = layout_.count();
    }
  }
  weights_ = at::empty({static_cast<std::int64_t>(layout_.count())}, at::kFloat);
  gradients_ = at::zeros_like(weights_);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const TensorSlot& slot = layout_.slots()[i];
    const auto view_of = [&slot](const at::Tensor& flat) {
      return flat.narrow(0, static_cast<std::int64_t>(slot.offset), static_cast<std::int64_t>(slot.count))
          .view(slot.shape);
    };
    at::Tensor parameter = parameters[i].tensor;
    at::Tensor view = view_of(weights_);
    view.copy_(parameter.detach());
    parameter.set_data(view);
    // AccumulateGrad adds in place into a gradient that exists, so the view stays a view.
    parameter.mutable_grad() = view_of(gradients_);
  }
}

std::span<float> FlatState::weight_span() {
  return flat_span(weights_);
}

std::span<float> FlatState::gradient_span() {
  return flat_span(gradients_);
}

void FlatState::scale_gradients(double limit, double norm) {
  if (limit > 0.0 && norm > limit) {
    gradients_.mul_(limit / norm);
  }
}

std::string FlatState::first_non_finite(const at::Tensor& flat) const {
  const at::Tensor bad = at::isfinite(flat).logical_not();
  if (!bad.any().item<bool>()) {
    return {};
  }
  const auto first = bad.to(at::kByte).argmax().item<std::int64_t>();
  return layout_.at_offset(static_cast<std::uint64_t>(first)).name;
}

}  // namespace soup
