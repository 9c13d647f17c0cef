// The forward diffusion process as plain numbers (doubles), and conversions between predictions.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/model_config.hpp"

namespace soup {

class NoiseSchedule {
 public:
  explicit NoiseSchedule(const ScheduleConfig& config);

  [[nodiscard]] std::int64_t steps() const { return static_cast<std::int64_t>(alphas_cumprod_.size()); }
  // alpha-bar of Ho et al. 2020, eq. 4.
  [[nodiscard]] double alpha_bar(std::int64_t timestep) const {
    return alphas_cumprod_.at(static_cast<std::size_t>(timestep));
  }
  [[nodiscard]] const ScheduleConfig& config() const { return config_; }
  // DDIM's "leading" timesteps, descending, as diffusers' DDIMScheduler (steps_offset 1 clipped to the range).
  [[nodiscard]] std::vector<std::int64_t> sampling_timesteps(std::int64_t steps) const;

 private:
  ScheduleConfig config_;
  std::vector<double> alphas_cumprod_;
};

}  // namespace soup
