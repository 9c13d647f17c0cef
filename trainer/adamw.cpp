// AdamW over a flat buffer, and the learning-rate schedule.
#include "trainer/adamw.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

namespace soup {

AdamW::AdamW(FlatState& state, const TrainConfig& config)
    : state_(state),
      config_(config),
      first_moment_(at::zeros_like(state.weights())),
      second_moment_(at::zeros_like(state.weights())) {}

void AdamW::step(std::span<const double> learning_rates, const at::Tensor& skip) {
  ++steps_;
  const std::vector<at::Tensor> steps = {at::full({}, static_cast<double>(steps_), first_moment_.options())};
  for (const FlatSegment& segment : state_.segments()) {
    const auto slice = [&segment](at::Tensor& flat) {
      return std::vector<at::Tensor>{flat.slice(0, segment.begin, segment.end)};
    };
    const std::vector<at::Tensor> weights = slice(state_.weights());
    const std::vector<at::Tensor> gradients = slice(state_.gradients());
    const std::vector<at::Tensor> first = slice(first_moment_);
    const std::vector<at::Tensor> second = slice(second_moment_);
    at::_fused_adamw_(weights, gradients, first, second, {}, steps, learning_rates[segment.part], config_.beta1,
                      config_.beta2, segment.decayed ? config_.weight_decay : 0.0, config_.epsilon, /*amsgrad=*/false,
                      /*maximize=*/false, /*grad_scale=*/{},
                      skip.defined() ? std::optional<at::Tensor>(skip) : std::nullopt);
  }
}

double learning_rate_factor(const TrainConfig& config, std::uint64_t images) {
  const double seen = static_cast<double>(images);
  const double warmup = static_cast<double>(config.warmup_images);
  if (seen < warmup) {
    // The middle of the step's range would need the batch; the end of it keeps the first step above zero.
    return (seen + static_cast<double>(config.batch)) / (warmup + static_cast<double>(config.batch));
  }
  if (config.lr_schedule == "constant") {
    return 1.0;
  }
  const double length = std::max(1.0, static_cast<double>(config.images) - warmup);
  const double progress = std::min(1.0, (seen - warmup) / length);
  const double left =
      config.lr_schedule == "linear" ? 1.0 - progress : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return config.final_lr_fraction + (1.0 - config.final_lr_fraction) * left;
}

double learning_rate_at(const TrainConfig& config, std::uint64_t images) {
  return config.learning_rate * learning_rate_factor(config, images);
}

}  // namespace soup
