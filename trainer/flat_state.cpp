// Weights, gradients and optimizer state as flat buffers.
#include "trainer/flat_state.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

struct Parameter {
  std::string name;
  at::Tensor tensor;
  std::size_t part;
};

std::vector<Parameter> trainable_parameters(const std::vector<TrainedPart>& parts,
                                            const std::vector<std::string>& frozen) {
  std::vector<Parameter> parameters;
  std::vector<bool> used(frozen.size(), false);
  for (std::size_t part = 0; part < parts.size(); ++part) {
    for (const auto& item : parts[part].module->named_parameters()) {
      Parameter parameter{parts[part].name + "." + item.key(), item.value(), part};
      bool is_frozen = false;
      for (std::size_t i = 0; i < frozen.size(); ++i) {
        const bool matches = matches_pattern(parameter.name, frozen[i]);
        is_frozen = is_frozen || matches;
        used[i] = used[i] || matches;
      }
      parameter.tensor.set_requires_grad(!is_frozen);
      if (!is_frozen) {
        parameters.push_back(std::move(parameter));
      }
    }
  }
  if (const auto idle = std::ranges::find(used, false); idle != used.end()) {
    throw ConfigError(fmt::format("frozen: the pattern \"{}\" matches no parameter that would be trained",
                                  frozen[static_cast<std::size_t>(idle - used.begin())]),
                      "names begin with unet. or, where it is trained, text_encoder.; * stands for any text");
  }
  if (parameters.empty()) {
    throw ConfigError("frozen: the patterns leave no parameter to train");
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

FlatState::FlatState(const std::vector<TrainedPart>& parts, const std::vector<std::string>& frozen) {
  const std::vector<Parameter> parameters = trainable_parameters(parts, frozen);
  for (const Parameter& parameter : parameters) {
    SOUP_REQUIRE(parameter.tensor.scalar_type() == at::kFloat, "parameter " + parameter.name + " is not float32");
    const auto begin = static_cast<std::int64_t>(layout_.count());
    layout_.append(parameter.name, parameter.tensor.sizes().vec());
    const bool decayed = parameter.tensor.dim() >= 2;
    if (segments_.empty() || segments_.back().decayed != decayed || segments_.back().part != parameter.part) {
      segments_.push_back({begin, begin, decayed, parameter.part});
    }
    segments_.back().end = static_cast<std::int64_t>(layout_.count());
  }
  weights_ = at::empty({static_cast<std::int64_t>(layout_.count())}, parameters.front().tensor.options());
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
    parameters_.push_back(std::move(parameter));
  }
}

void FlatState::sum_gradients(Communicator& group) {
  if (group.size() == 1) {
    return;
  }
  at::Tensor in_memory = gradients_.cpu();  // the same tensor where it is there already
  group.all_reduce_sum(flat_span(in_memory));
  if (!in_memory.is_same(gradients_)) {
    gradients_.copy_(in_memory);
  }
}

void FlatState::scale_gradients(double limit, const at::Tensor& norm) {
  if (limit <= 0.0) {
    return;
  }
  const bool is_short = norm.is_cpu() && norm.item<double>() <= limit;  // on a GPU that would have to be waited for
  if (!is_short) {
    gradients_.mul_((limit / norm).clamp_max(1.0));
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
