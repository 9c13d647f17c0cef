// Exponential moving average of the weights.
#include "trainer/ema.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace soup {

double ema_decay(const TrainConfig& config, std::uint64_t images) {
  double halflife = static_cast<double>(config.ema_halflife_images);
  if (config.ema_rampup > 0.0) {
    halflife = std::min(halflife, config.ema_rampup * static_cast<double>(images));
  }
  return halflife <= 0.0 ? 0.0 : std::exp2(-static_cast<double>(config.batch) / halflife);
}

void update_ema(at::Tensor& ema, const at::Tensor& weights, double decay) {
  ema.lerp_(weights, 1.0 - decay);
}

}  // namespace soup
