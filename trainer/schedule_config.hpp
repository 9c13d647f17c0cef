// How noise is added and what the network predicts, with the keys of diffusers' scheduler_config.json; torch-free.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace soup {

// diffusers' schedulers as far as a model is concerned: the noise schedule it was trained with, and how a sampler is to
// walk through it unless told otherwise.
struct ScheduleConfig {
  std::int64_t num_train_timesteps = 1000;
  std::string beta_schedule = "squaredcos_cap_v2";  // or "linear", "scaled_linear"
  double beta_start = 0.0001;
  double beta_end = 0.02;
  std::string prediction_type = "v_prediction";  // or "epsilon", "sample"
  // Betas scaled so that the last timestep is pure noise (Lin et al. 2024, algorithm 1).
  bool rescale_betas_zero_snr = false;
  // "leading", "trailing", "linspace" (Lin et al. 2024, table 2), or "": each sampler's own, where a file does not say.
  std::string timestep_spacing = "leading";
  std::int64_t steps_offset = 1;   // added to "leading" timesteps
  bool set_alpha_to_one = false;   // DDIM's last step ends at alpha-bar 1 instead of that of timestep 0
  bool use_karras_sigmas = false;  // as DPM-Solver++ and Euler write it
  // What from_json() was given: to_json() changes in it only what this program has another value for, so that a
  // fine-tuned model keeps its scheduler.
  nlohmann::json original;

  // scheduler_config.json: the original's, or one of DDIMScheduler.
  [[nodiscard]] nlohmann::json to_json() const;
  // Absent keys mean the defaults of diffusers' schedulers. Throws DataError naming a key or value
  // that is unknown or not implemented. `where` is the file, for messages.
  static ScheduleConfig from_json(const nlohmann::json& json, const std::string& where);
  // As a training makes it that predicts `prediction` ("model": as it is) and goes to pure noise or not.
  [[nodiscard]] ScheduleConfig adapted(const std::string& prediction, bool zero_terminal_snr) const;
  // What makes the schedule impossible, naming the numbers that disagree; "" when nothing does.
  [[nodiscard]] std::string problem() const;
};

}  // namespace soup
