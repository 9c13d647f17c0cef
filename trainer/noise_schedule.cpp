// The forward diffusion process: betas and their cumulative products with the roundings diffusers' schedulers have.
#include "trainer/noise_schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.hpp"

namespace soup {
namespace {

// Nichol and Dhariwal 2021, eq. 17 (without the constant that cancels in the ratio).
double cosine_alpha_bar(double time) {
  const double cosine = std::cos((time + 0.008) / 1.008 * std::numbers::pi / 2);
  return cosine * cosine;
}

// As torch.linspace in float32: from both ends towards the middle.
std::vector<float> linspace(double start, double end, std::int64_t count) {
  const auto first = static_cast<float>(start);
  const auto last = static_cast<float>(end);
  const float step = count > 1 ? (last - first) / static_cast<float>(count - 1) : 0.0F;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    values[static_cast<std::size_t>(i)] =
        i < count / 2 ? first + step * static_cast<float>(i) : last - step * static_cast<float>(count - 1 - i);
  }
  if (count == 1) {
    values[0] = first;
  }
  return values;
}

std::vector<float> make_betas(const ScheduleConfig& config) {
  const std::int64_t count = config.num_train_timesteps;
  if (config.beta_schedule == "linear") {
    return linspace(config.beta_start, config.beta_end, count);
  }
  if (config.beta_schedule == "scaled_linear") {
    std::vector<float> betas = linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), count);
    for (float& beta : betas) {
      beta *= beta;
    }
    return betas;
  }
  std::vector<float> betas(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const double ratio = cosine_alpha_bar(static_cast<double>(i + 1) / static_cast<double>(count)) /
                         cosine_alpha_bar(static_cast<double>(i) / static_cast<double>(count));
    betas[static_cast<std::size_t>(i)] = static_cast<float>(std::min(1.0 - ratio, 0.999));
  }
  return betas;
}

}  // namespace

NoiseSchedule::NoiseSchedule(const ScheduleConfig& config) : config_(config) {
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw ConfigError("noise schedule: " + problem);
  }
  // diffusers keeps 1 - beta and the products as float32 (torch.cumprod accumulates in double). Near the last
  // timesteps 1 - beta loses half of its digits there, so a model trained elsewhere has these very values.
  double product = 1.0;
  for (const float beta : make_betas(config)) {
    product *= static_cast<double>(1.0F - beta);
    alphas_cumprod_.push_back(static_cast<double>(static_cast<float>(product)));
  }
}

std::vector<std::int64_t> NoiseSchedule::sampling_timesteps(std::int64_t count) const {
  if (count < 1 || count > steps()) {
    throw ConfigError(fmt::format("{} sampling steps asked for, but the schedule has {}", count, steps()),
                      fmt::format("choose between 1 and {}", steps()));
  }
  const std::int64_t stride = steps() / count;
  std::vector<std::int64_t> timesteps;
  for (std::int64_t i = count - 1; i >= 0; --i) {
    // steps_offset = 1; the full schedule would otherwise begin one past its end.
    timesteps.push_back(std::min(i * stride + 1, steps() - 1));
  }
  return timesteps;
}

}  // namespace soup
