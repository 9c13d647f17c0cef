// A sampler as a table of numbers: which timesteps it visits and how each step combines what it has; torch-free.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/noise_schedule.hpp"

namespace soup {

// ddim: Song et al. 2021, eq. 12 with eta 0. euler: Karras et al. 2022, algorithm 1 without its second-order
// correction. euler_a: Euler towards a smaller noise level, then fresh noise (k-diffusion's ancestral sampling, Song et
// al. 2021, eq. 16 with eta 1). dpmpp_2m: DPM-Solver++(2M), Lu et al. 2022, algorithm 2.
inline constexpr std::array<std::string_view, 4> sampler_names = {"ddim", "euler", "euler_a", "dpmpp_2m"};
inline constexpr std::array<std::string_view, 4> spacing_names = {"model", "leading", "trailing", "linspace"};

struct SamplerChoice {
  std::string sampler = "ddim";  // of sampler_names
  std::int64_t steps = 25;
  // "leading", "trailing", "linspace"; or "model": its timestep_spacing, and where its scheduler's file does not say,
  // as diffusers' scheduler of the sampler ("leading" for ddim, else "linspace").
  std::string spacing = "model";
  bool karras = false;  // noise levels of Karras et al. 2022, eq. 5 with rho 7 (euler and dpmpp_2m)
};

struct SampleOptions {
  SamplerChoice sampler;
  double guidance = 3.0;             // 1: no guidance (one forward pass a step)
  double guidance_rescale = 0.0;     // part of the guided prediction that gets the deviation of the unguided one back
  std::string negative_prompt = {};  // what guidance leads away from
  std::int64_t clip_skip = 1;        // as TrainConfig::clip_skip
  std::int64_t batch = 32;           // latents at a time
};

// The network is told `timestep` and given input_scale * sample. Then
//   next sample = from_sample * sample + from_prediction * prediction + from_previous * previous + from_noise * noise,
// where `previous` is the image that the step before predicted, clean_sample * sample + clean_prediction * prediction.
struct SamplingStep {
  double timestep = 0.0;  // may lie between two that the model was trained on
  double input_scale = 1.0;
  double from_sample = 0.0;
  double from_prediction = 0.0;
  double from_previous = 0.0;  // 0: not needed
  double from_noise = 0.0;     // 0: none is drawn
  double clean_sample = 0.0;
  double clean_prediction = 0.0;
};

struct SamplingPlan {
  double initial_scale = 1.0;  // the first sample is standard normal noise times this
  std::vector<SamplingStep> steps;
};

// The plan that the scheduler of diffusers of that name follows with this schedule's configuration (0.42; where that
// fails on a timestep past the end, the last one is taken). Throws ConfigError: an unknown sampler or spacing, steps
// out of range, Karras's noise levels with a sampler that has none.
SamplingPlan make_sampling_plan(const NoiseSchedule& schedule, const SamplerChoice& choice);

}  // namespace soup
