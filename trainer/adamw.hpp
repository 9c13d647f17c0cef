// AdamW (Loshchilov & Hutter 2019, algorithm 2) over a flat buffer, one fused call for each of its segments.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "trainer/flat_state.hpp"
#include "trainer/train_config.hpp"

namespace soup {

class AdamW {
 public:
  AdamW(FlatState& state, const TrainConfig& config);

  // One step with the gradients in the state's buffer and a learning rate for each of its parts; counts steps from 1.
  // Where `skip` (float [], on the state's device) is 1 the step is counted and changes nothing.
  void step(std::span<const double> learning_rates, const at::Tensor& skip = {});

  [[nodiscard]] at::Tensor& first_moment() { return first_moment_; }    // [count] float
  [[nodiscard]] at::Tensor& second_moment() { return second_moment_; }  // [count] float
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  void set_steps(std::uint64_t steps) { steps_ = steps; }

 private:
  FlatState& state_;
  TrainConfig config_;
  at::Tensor first_moment_;
  at::Tensor second_moment_;
  std::uint64_t steps_ = 0;
};

// The learning rate, as a part of its highest, for the step that begins after `images` images: linear warm-up, then
// constant, or a half cosine or a line down to final_lr_fraction.
double learning_rate_factor(const TrainConfig& config, std::uint64_t images);
// The rate itself.
double learning_rate_at(const TrainConfig& config, std::uint64_t images);

}  // namespace soup
