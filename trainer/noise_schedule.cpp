// The forward diffusion process: betas and their cumulative products with the roundings diffusers' schedulers have.
#include "trainer/noise_schedule.hpp"

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

// torch.cumprod of 1 - beta in float32, which accumulates in double.
std::vector<float> cumulative_alphas(const std::vector<float>& betas) {
  std::vector<float> products;
  double product = 1.0;
  for (const float beta : betas) {
    product *= static_cast<double>(1.0F - beta);
    products.push_back(static_cast<float>(product));
  }
  return products;
}

// Lin et al. 2024, algorithm 1, with diffusers' roundings: the square roots of alpha-bar are shifted and scaled so that
// the last is 0 and the first stays.
std::vector<float> zero_snr_betas(const std::vector<float>& betas) {
  std::vector<float> roots = cumulative_alphas(betas);
  for (float& value : roots) {
    value = std::sqrt(value);
  }
  const float first = roots.front();
  const float last = roots.back();
  const float scale = first / (first - last);
  std::vector<float> rescaled;
  float before = 1.0F;
  for (const float root : roots) {
    const float shifted = (root - last) * scale;
    const float alpha_bar = shifted * shifted;
    rescaled.push_back(1.0F - alpha_bar / before);
    before = alpha_bar;
  }
  return rescaled;
}

}  // namespace

NoiseSchedule::NoiseSchedule(const ScheduleConfig& config) : config_(config) {
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw ConfigError("noise schedule: " + problem);
  }
  // diffusers keeps 1 - beta and the products as float32 (torch.cumprod accumulates in double). Near the last
  // timesteps 1 - beta loses half of its digits there, so a model trained elsewhere has these very values.
  std::vector<float> betas = make_betas(config);
  if (config.rescale_betas_zero_snr) {
    betas = zero_snr_betas(betas);
  }
  for (const float alpha_bar : cumulative_alphas(betas)) {
    alphas_cumprod_.push_back(static_cast<double>(alpha_bar));
  }
}

}  // namespace soup
