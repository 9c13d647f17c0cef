// The samplers' tables. Numbers are doubles; diffusers has float32, which makes no difference that an image shows.
#include "trainer/sampling_plan.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {
namespace {

// With zero terminal SNR the last noise level is infinite; diffusers ends at this alpha-bar instead.
constexpr double last_alpha_bar = 0x1p-24;

// The image that a prediction means, in terms of sample and prediction, at signal * image + sigma * noise (Salimans and
// Ho 2022, section 4 and appendix D).
struct Clean {
  double sample;
  double prediction;
};

Clean clean_of(const std::string& prediction_type, double signal, double sigma) {
  if (prediction_type == "epsilon") {
    return {1.0 / signal, -sigma / signal};
  }
  if (prediction_type == "v_prediction") {
    return {signal, -sigma};
  }
  return {0.0, 1.0};
}

// Evenly spaced, both ends included, as numpy.linspace.
std::vector<double> evenly(double first, double last, std::int64_t count) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(count == 1 ? first
                                : first + (last - first) * static_cast<double>(i) / static_cast<double>(count - 1));
  }
  return values;
}

// numpy.round: halves to even.
double rounded(double value) {
  return std::nearbyint(value);
}

// "trailing": from the last timestep down in steps of T / count (Lin et al. 2024, table 2).
std::vector<double> trailing(std::int64_t total, std::int64_t count) {
  std::vector<double> timesteps;
  const double stride = static_cast<double>(total) / static_cast<double>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    timesteps.push_back(rounded(static_cast<double>(total) - static_cast<double>(i) * stride) - 1.0);
  }
  return timesteps;
}

// "leading": multiples of a whole stride plus the offset, descending; `skipped` of them are left out at the end.
std::vector<double> leading(std::int64_t total, std::int64_t count, std::int64_t offset, std::int64_t skipped) {
  const std::int64_t stride = total / (count + skipped);
  std::vector<double> timesteps;
  for (std::int64_t i = count + skipped - 1; i >= skipped; --i) {
    timesteps.push_back(static_cast<double>(std::min(i * stride + offset, total - 1)));
  }
  return timesteps;
}

std::vector<double> descending(std::vector<double> values) {
  std::ranges::reverse(values);
  return values;
}

class Planner {
 public:
  Planner(const NoiseSchedule& schedule, const SamplerChoice& choice)
      : schedule_(schedule),
        choice_(choice),
        config_(schedule.config()),
        spacing_(choice.spacing == "model" ? config_.timestep_spacing : choice.spacing) {
    if (spacing_.empty()) {
      spacing_ = choice.sampler == "ddim" ? "leading" : "linspace";
    }
    for (std::int64_t t = 0; t < schedule.steps(); ++t) {
      const bool infinite = config_.rescale_betas_zero_snr && t + 1 == schedule.steps();
      const double alpha_bar = infinite ? last_alpha_bar : schedule.alpha_bar(t);
      sigmas_.push_back(std::sqrt((1.0 - alpha_bar) / alpha_bar));
      log_sigmas_.push_back(std::log(static_cast<float>(sigmas_.back())));
    }
  }

  // DDIMScheduler.
  [[nodiscard]] SamplingPlan ddim() const {
    const std::int64_t total = schedule_.steps();
    std::vector<double> timesteps;
    if (spacing_ == "linspace") {
      timesteps = descending(evenly(0.0, static_cast<double>(total - 1), choice_.steps));
      std::ranges::transform(timesteps, timesteps.begin(), rounded);
    } else {
      timesteps = spacing_ == "leading" ? leading(total, choice_.steps, config_.steps_offset, 0)
                                        : trailing(total, choice_.steps);
    }
    SamplingPlan plan;
    for (const double timestep : timesteps) {
      const auto now = static_cast<std::int64_t>(timestep);
      // Not the next of the list: diffusers steps by a fixed stride, whatever the spacing.
      const std::int64_t next = now - total / choice_.steps;
      const double last = config_.set_alpha_to_one ? 1.0 : schedule_.alpha_bar(0);
      plan.steps.push_back(ddim_step(timestep, schedule_.alpha_bar(now), next >= 0 ? schedule_.alpha_bar(next) : last));
    }
    return plan;
  }

  // EulerDiscreteScheduler and EulerAncestralDiscreteScheduler, whose samples are image + sigma * noise.
  [[nodiscard]] SamplingPlan euler(bool ancestral) const {
    const std::int64_t total = schedule_.steps();
    std::vector<double> timesteps;
    if (spacing_ == "linspace") {
      timesteps = descending(evenly(0.0, static_cast<double>(total - 1), choice_.steps));
    } else {
      timesteps = spacing_ == "leading" ? leading(total, choice_.steps, config_.steps_offset, 0)
                                        : trailing(total, choice_.steps);
    }
    std::vector<double> sigmas = sigmas_at(timesteps);
    if (choice_.karras) {
      sigmas = karras(sigmas.front(), sigmas.back());
      std::ranges::transform(sigmas, timesteps.begin(), [this](double sigma) { return timestep_of(sigma); });
    }
    sigmas.push_back(0.0);
    SamplingPlan plan;
    const double largest = std::ranges::max(sigmas);
    // "leading" does not begin at the last timestep, where noise is all there is.
    plan.initial_scale = spacing_ == "leading" ? std::sqrt(largest * largest + 1.0) : largest;
    for (std::size_t i = 0; i < timesteps.size(); ++i) {
      plan.steps.push_back(euler_step(timesteps[i], sigmas[i], sigmas[i + 1], ancestral));
    }
    return plan;
  }

  // DPMSolverMultistepScheduler of order 2, whose samples are signal * image + sigma * noise.
  [[nodiscard]] SamplingPlan dpmpp_2m() const {
    const std::int64_t total = schedule_.steps();
    std::vector<double> timesteps;
    if (spacing_ == "linspace") {
      timesteps = descending(evenly(0.0, static_cast<double>(total - 1), choice_.steps + 1));
      timesteps.pop_back();
      std::ranges::transform(timesteps, timesteps.begin(), rounded);
    } else {
      timesteps = spacing_ == "leading" ? leading(total, choice_.steps, config_.steps_offset, 1)
                                        : trailing(total, choice_.steps);
    }
    std::vector<double> sigmas = sigmas_at(timesteps);
    if (choice_.karras) {
      sigmas = karras(sigmas_.back(), sigmas_.front());
      std::ranges::transform(sigmas, timesteps.begin(), [this](double sigma) {
        // diffusers rounds, except with the cosine schedule, where it cuts off.
        return config_.beta_schedule == "squaredcos_cap_v2" ? std::trunc(timestep_of(sigma))
                                                            : rounded(timestep_of(sigma));
      });
    }
    sigmas.push_back(0.0);
    SamplingPlan plan;
    for (std::size_t i = 0; i < timesteps.size(); ++i) {
      const bool first_order = i == 0 || i + 1 == timesteps.size();
      plan.steps.push_back(dpmpp_step(timesteps[i], first_order ? 0.0 : sigmas[i - 1], sigmas[i], sigmas[i + 1]));
    }
    return plan;
  }

 private:
  [[nodiscard]] SamplingStep ddim_step(double timestep, double now, double next) const {
    const double signal = std::sqrt(now);
    const double sigma = std::sqrt(1.0 - now);
    const Clean clean = clean_of(config_.prediction_type, signal, sigma);
    // The noise that the prediction means, beside the image.
    Clean noise{-signal / sigma * clean.sample + 1.0 / sigma, -signal / sigma * clean.prediction};
    if (config_.prediction_type == "epsilon") {
      noise = {0.0, 1.0};
    } else if (config_.prediction_type == "v_prediction") {
      noise = {sigma, signal};
    }
    SamplingStep step;
    step.timestep = timestep;
    step.from_sample = std::sqrt(next) * clean.sample + std::sqrt(1.0 - next) * noise.sample;
    step.from_prediction = std::sqrt(next) * clean.prediction + std::sqrt(1.0 - next) * noise.prediction;
    step.clean_sample = clean.sample;
    step.clean_prediction = clean.prediction;
    return step;
  }

  [[nodiscard]] SamplingStep euler_step(double timestep, double now, double next, bool ancestral) const {
    SamplingStep step;
    step.timestep = timestep;
    step.input_scale = 1.0 / std::sqrt(now * now + 1.0);
    // input_scale * sample is what the network was trained on: signal = input_scale, sigma = now * input_scale.
    const Clean clean = clean_of(config_.prediction_type, step.input_scale, now * step.input_scale);
    step.clean_sample = clean.sample * step.input_scale;
    step.clean_prediction = clean.prediction;
    double down = next;
    if (ancestral) {
      step.from_noise = std::sqrt(next * next * (now * now - next * next) / (now * now));
      down = std::sqrt(next * next - step.from_noise * step.from_noise);
    }
    step.from_sample = down / now + (1.0 - down / now) * step.clean_sample;
    step.from_prediction = (1.0 - down / now) * step.clean_prediction;
    return step;
  }

  // `before` is the noise level of the step before, 0 for a step of first order.
  [[nodiscard]] SamplingStep dpmpp_step(double timestep, double before, double now, double next) const {
    const auto signal_of = [](double sigma) { return 1.0 / std::sqrt(sigma * sigma + 1.0); };
    SamplingStep step;
    step.timestep = timestep;
    const Clean clean = clean_of(config_.prediction_type, signal_of(now), now * signal_of(now));
    step.clean_sample = clean.sample;
    step.clean_prediction = clean.prediction;
    // With lambda = -log(sigma), exp(-h) of the paper is next / now, also at next = 0.
    double of_image = signal_of(next) * (1.0 - next / now);
    if (before > 0.0) {
      const double ratio = std::log(before / now) / std::log(now / next);  // r0 of the paper's algorithm 2
      step.from_previous = -of_image * 0.5 / ratio;
      of_image += of_image * 0.5 / ratio;
    }
    const double keep = next * signal_of(next) / (now * signal_of(now));
    step.from_sample = keep + of_image * clean.sample;
    step.from_prediction = of_image * clean.prediction;
    return step;
  }

  // Noise levels at timesteps, linear between two.
  [[nodiscard]] std::vector<double> sigmas_at(const std::vector<double>& timesteps) const {
    std::vector<double> values;
    for (const double timestep : timesteps) {
      const auto below = static_cast<std::size_t>(timestep);
      const std::size_t above = std::min(below + 1, sigmas_.size() - 1);
      values.push_back(std::lerp(sigmas_[below], sigmas_[above], timestep - static_cast<double>(below)));
    }
    return values;
  }

  // Karras et al. 2022, eq. 5.
  [[nodiscard]] std::vector<double> karras(double largest, double smallest) const {
    constexpr double rho = 7.0;
    std::vector<double> values = evenly(std::pow(largest, 1.0 / rho), std::pow(smallest, 1.0 / rho), choice_.steps);
    std::ranges::transform(values, values.begin(), [](double root) { return std::pow(root, rho); });
    return values;
  }

  // The timestep of a noise level, linear in its logarithm between two.
  [[nodiscard]] double timestep_of(double sigma) const {
    const double wanted = std::log(sigma);
    const auto after = std::ranges::upper_bound(log_sigmas_, wanted);
    const auto last = static_cast<std::ptrdiff_t>(log_sigmas_.size()) - 1;
    const std::ptrdiff_t below =
        std::clamp<std::ptrdiff_t>(after - log_sigmas_.begin() - 1, 0, std::max<std::ptrdiff_t>(0, last - 1));
    const double low = log_sigmas_[static_cast<std::size_t>(below)];
    const double high = log_sigmas_[static_cast<std::size_t>(std::min(below + 1, last))];
    const double part = high > low ? std::clamp((wanted - low) / (high - low), 0.0, 1.0) : 0.0;
    return static_cast<double>(below) + part;
  }

  const NoiseSchedule& schedule_;
  const SamplerChoice& choice_;
  const ScheduleConfig& config_;
  std::string spacing_;
  std::vector<double> sigmas_;     // noise over signal at every timestep, ascending
  std::vector<float> log_sigmas_;  // their logarithms; as floats, since diffusers cuts off what lies just below one
};

void check(const NoiseSchedule& schedule, const SamplerChoice& choice) {
  if (std::ranges::find(sampler_names, choice.sampler) == sampler_names.end()) {
    const std::string near =
        nearest(choice.sampler, std::vector<std::string>(sampler_names.begin(), sampler_names.end()));
    throw ConfigError(fmt::format("unknown sampler \"{}\", only {} exist", choice.sampler,
                                  fmt::join(sampler_names.begin(), sampler_names.end(), ", ")),
                      near.empty() ? "" : fmt::format("did you mean {}?", near));
  }
  // DPM-Solver++ leaves out the last of its timesteps.
  const std::int64_t most = schedule.steps() - (choice.sampler == "dpmpp_2m" ? 1 : 0);
  if (choice.steps < 1 || choice.steps > most) {
    throw ConfigError(fmt::format("{} sampling steps asked for, but the schedule has {}", choice.steps, most),
                      fmt::format("choose between 1 and {}", most));
  }
  if (std::ranges::find(spacing_names, choice.spacing) == spacing_names.end()) {
    throw ConfigError(fmt::format("unknown timestep spacing \"{}\", only {} exist", choice.spacing,
                                  fmt::join(spacing_names.begin(), spacing_names.end(), ", ")));
  }
  if (choice.karras && choice.sampler != "euler" && choice.sampler != "dpmpp_2m") {
    throw ConfigError(
        fmt::format("Karras's noise levels are for the samplers euler and dpmpp_2m, not {}", choice.sampler));
  }
}

}  // namespace

SamplingPlan make_sampling_plan(const NoiseSchedule& schedule, const SamplerChoice& choice) {
  check(schedule, choice);
  const Planner planner(schedule, choice);
  if (choice.sampler == "ddim") {
    return planner.ddim();
  }
  return choice.sampler == "dpmpp_2m" ? planner.dpmpp_2m() : planner.euler(choice.sampler == "euler_a");
}

}  // namespace soup
