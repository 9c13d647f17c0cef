// scheduler_config.json of diffusers' schedulers.
#include "trainer/schedule_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "trainer/config_reader.hpp"

namespace soup {
namespace {

constexpr std::int64_t most_timesteps = 1'000'000;  // tables of so many numbers are made

// The schedulers of diffusers 0.42 whose files are read.
struct SchedulerKind {
  const char* name;
  bool clips;  // the default of clip_sample
};
constexpr auto scheduler_kinds = std::to_array<SchedulerKind>({
    {"DDIMScheduler", true},
    {"DDPMScheduler", true},
    {"PNDMScheduler", false},
    {"LMSDiscreteScheduler", false},
    {"EulerDiscreteScheduler", false},
    {"EulerAncestralDiscreteScheduler", false},
    {"DPMSolverMultistepScheduler", false},
});

const SchedulerKind& kind_of(const nlohmann::json& json, const std::string& where) {
  const nlohmann::json name = json.value("_class_name", nlohmann::json());
  const auto found = std::ranges::find_if(scheduler_kinds, [&name](const auto& kind) { return name == kind.name; });
  if (found == scheduler_kinds.end()) {
    std::string names;
    for (const SchedulerKind& kind : scheduler_kinds) {
      names += (names.empty() ? "" : ", ") + std::string(kind.name);
    }
    throw DataError(
        where, fmt::format("scheduler configuration: _class_name = {} is not implemented, only {}", name.dump(), names),
        "save the model with one of these: Scheduler.from_config(pipeline.scheduler.config)");
  }
  return *found;
}

// Ways of sampling that a file may ask for and this program has only one of. Of another scheduler's keys there is none
// in the file.
void check_sampling_keys(ConfigReader& reader, const SchedulerKind& kind) {
  reader.only("clip_sample", kind.clips, {false});
  reader.only("thresholding", false, {false});
  reader.only("skip_prk_steps", true, {true});
  reader.only("use_exponential_sigmas", false, {false});
  reader.only("use_beta_sigmas", false, {false});
  reader.only("use_lu_lambdas", false, {false});
  reader.only("use_flow_sigmas", false, {false});
  reader.only("use_dynamic_shifting", false, {false});
  reader.only("interpolation_type", "linear", {"linear"});
  reader.only("timestep_type", "discrete", {"discrete"});
  reader.only("final_sigmas_type", "zero", {"zero"});
  reader.only("sigma_min", nullptr, {nullptr});
  reader.only("sigma_max", nullptr, {nullptr});
  reader.only("solver_order", 2, {2});
  reader.only("solver_type", "midpoint", {"midpoint"});
  reader.only("algorithm_type", "dpmsolver++", {"dpmsolver++"});
  for (const char* key : {
           "clip_sample_range", "dynamic_thresholding_ratio",
           "sample_max_value",                     // read with clip_sample, thresholding
           "flow_shift", "time_shift_type",        // read with use_flow_sigmas
           "lower_order_final", "euler_at_final",  // nothing where the last sigma is zero and the order two
           "lambda_min_clipped",                   // about timesteps that samplers leave out, see sampling_plan.hpp
           "variance_type",                        // DDPM's own noise, which no sampler here adds
       }) {
    reader.ignore(key);
  }
}

nlohmann::json ddim_json(const ScheduleConfig& config) {
  return {
      {"_class_name", "DDIMScheduler"},
      {"_diffusers_version", "0.42.1"},
      {"beta_end", config.beta_end},
      {"beta_schedule", config.beta_schedule},
      {"beta_start", config.beta_start},
      {"clip_sample", false},
      {"clip_sample_range", 1.0},
      {"dynamic_thresholding_ratio", 0.995},
      {"num_train_timesteps", config.num_train_timesteps},
      {"prediction_type", config.prediction_type},
      {"rescale_betas_zero_snr", config.rescale_betas_zero_snr},
      {"sample_max_value", 1.0},
      {"set_alpha_to_one", config.set_alpha_to_one},
      {"steps_offset", config.steps_offset},
      {"thresholding", false},
      {"timestep_spacing", config.timestep_spacing.empty() ? "leading" : config.timestep_spacing},
      {"trained_betas", nullptr},
  };
}

}  // namespace

nlohmann::json ScheduleConfig::to_json() const {
  if (original.is_object()) {
    const ScheduleConfig was = from_json(original, "scheduler_config.json");
    if (was.use_karras_sigmas == use_karras_sigmas && ddim_json(was) == ddim_json(*this)) {
      return original;
    }
  }
  return ddim_json(*this);
}

ScheduleConfig ScheduleConfig::from_json(const nlohmann::json& json, const std::string& where) {
  ConfigReader reader(json, where, "scheduler");
  const SchedulerKind& kind = kind_of(json, where);
  ScheduleConfig config;
  config.original = json;
  config.num_train_timesteps = reader.integer("num_train_timesteps", 1000);
  config.beta_schedule = reader.text("beta_schedule", "linear");
  config.beta_start = reader.number("beta_start", 0.0001);
  config.beta_end = reader.number("beta_end", 0.02);
  config.prediction_type = reader.text("prediction_type", "epsilon");
  config.rescale_betas_zero_snr = reader.boolean("rescale_betas_zero_snr", false);
  config.timestep_spacing = reader.text("timestep_spacing", "");
  config.steps_offset = reader.integer("steps_offset", 0);
  config.set_alpha_to_one = reader.boolean("set_alpha_to_one", true);
  config.use_karras_sigmas = reader.boolean("use_karras_sigmas", false);
  reader.only("trained_betas", nullptr, {nullptr});
  check_sampling_keys(reader, kind);
  reader.finish();
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw DataError(where, problem);
  }
  return config;
}

ScheduleConfig ScheduleConfig::adapted(const std::string& prediction, bool zero_terminal_snr) const {
  ScheduleConfig schedule = *this;
  if (prediction != "model") {
    schedule.prediction_type = prediction;
  }
  if (zero_terminal_snr) {
    schedule.rescale_betas_zero_snr = true;
    schedule.timestep_spacing =
        "trailing";  // else no sampler begins at the last timestep (Lin et al. 2024, section 3.3)
  }
  return schedule;
}

std::string ScheduleConfig::problem() const {
  if (num_train_timesteps < 1 || num_train_timesteps > most_timesteps) {
    return fmt::format("num_train_timesteps = {} must be from 1 to {}", num_train_timesteps, most_timesteps);
  }
  if (beta_schedule != "squaredcos_cap_v2" && beta_schedule != "linear" && beta_schedule != "scaled_linear") {
    return fmt::format("beta_schedule = {} is not implemented, only squaredcos_cap_v2, linear and scaled_linear",
                       beta_schedule);
  }
  if (!(beta_start > 0.0 && beta_start <= beta_end && beta_end < 1.0)) {
    return fmt::format("0 < beta_start <= beta_end < 1 must hold, but beta_start = {} and beta_end = {}", beta_start,
                       beta_end);
  }
  if (prediction_type != "v_prediction" && prediction_type != "epsilon" && prediction_type != "sample") {
    return fmt::format("prediction_type = {} is not implemented, only v_prediction, epsilon and sample",
                       prediction_type);
  }
  if (rescale_betas_zero_snr && prediction_type == "epsilon") {
    return "rescale_betas_zero_snr = true with prediction_type = epsilon: at a timestep of pure noise the noise says "
           "nothing about the image; use v_prediction or sample";
  }
  if (rescale_betas_zero_snr && num_train_timesteps < 2) {
    return "rescale_betas_zero_snr = true needs at least 2 timesteps";
  }
  if (!timestep_spacing.empty() && timestep_spacing != "leading" && timestep_spacing != "trailing" &&
      timestep_spacing != "linspace") {
    return fmt::format("timestep_spacing = {} is not implemented, only leading, trailing and linspace",
                       timestep_spacing);
  }
  if (steps_offset < 0 || steps_offset >= num_train_timesteps) {
    return fmt::format("steps_offset = {} is not between 0 and num_train_timesteps = {}", steps_offset,
                       num_train_timesteps);
  }
  return {};
}

}  // namespace soup
