// Exponential moving average of the weights, its length counted in images.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "trainer/train_config.hpp"

namespace soup {

// Decay for one step: 0.5^(batch / half-life), half-life = min(ema_halflife_images, ema_rampup * images seen)
// (the ramp-up of Karras et al. 2022, EDM, training loop). `images` counts the step that was just made.
double ema_decay(const TrainConfig& config, std::uint64_t images);

// ema = decay * ema + (1 - decay) * weights, both [count] float.
void update_ema(at::Tensor& ema, const at::Tensor& weights, double decay);

}  // namespace soup
