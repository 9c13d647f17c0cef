// The forward diffusion process as plain numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "trainer/schedule_config.hpp"

namespace soup {

class NoiseSchedule {
 public:
  explicit NoiseSchedule(const ScheduleConfig& config);

  [[nodiscard]] std::int64_t steps() const { return static_cast<std::int64_t>(alphas_cumprod_.size()); }
  // alpha-bar of Ho et al. 2020, eq. 4; 0 at the last timestep with rescale_betas_zero_snr.
  [[nodiscard]] double alpha_bar(std::int64_t timestep) const {
    return alphas_cumprod_.at(static_cast<std::size_t>(timestep));
  }
  [[nodiscard]] const ScheduleConfig& config() const { return config_; }

 private:
  ScheduleConfig config_;
  std::vector<double> alphas_cumprod_;
};

}  // namespace soup
