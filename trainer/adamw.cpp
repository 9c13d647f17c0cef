// AdamW over a flat buffer, and the learning-rate schedule.
#include "trainer/adamw.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace soup {

AdamW::AdamW(FlatState& state, const TrainConfig& config)
    : state_(state),
      config_(config),
      first_moment_(at::zeros_like(state.weights())),
      second_moment_(at::zeros_like(state.weights())) {}

void AdamW::step(double learning_rate) {
  ++steps_;
  const auto decayed = static_cast<std::int64_t>(state_.decayed_count());
  step_slice(0, decayed, learning_rate, config_.weight_decay);
  step_slice(decayed, state_.weights().numel(), learning_rate, 0.0);
}

void AdamW::step_slice(std::int64_t begin, std::int64_t end, double learning_rate, double weight_decay) {
  if (begin == end) {
    return;
  }
  const auto slice = [begin, end](at::Tensor& flat) { return std::vector<at::Tensor>{flat.slice(0, begin, end)}; };
  const std::vector<at::Tensor> weights = slice(state_.weights());
  const std::vector<at::Tensor> gradients = slice(state_.gradients());
  const std::vector<at::Tensor> first = slice(first_moment_);
  const std::vector<at::Tensor> second = slice(second_moment_);
  const std::vector<at::Tensor> steps = {at::scalar_tensor(static_cast<double>(steps_), at::kFloat)};
  at::_fused_adamw_(weights, gradients, first, second, {}, steps, learning_rate, config_.beta1, config_.beta2,
                    weight_decay, config_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
}

double learning_rate_at(const TrainConfig& config, std::uint64_t images) {
  const double seen = static_cast<double>(images);
  const double warmup = static_cast<double>(config.warmup_images);
  if (seen < warmup) {
    // The middle of the step's range would need the batch; the end of it keeps the first step above zero.
    return config.learning_rate * (seen + static_cast<double>(config.batch)) /
           (warmup + static_cast<double>(config.batch));
  }
  if (config.lr_schedule == "constant") {
    return config.learning_rate;
  }
  const double length = std::max(1.0, static_cast<double>(config.images) - warmup);
  const double progress = std::min(1.0, (seen - warmup) / length);
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return config.learning_rate * (config.final_lr_fraction + (1.0 - config.final_lr_fraction) * cosine);
}

}  // namespace soup
