// A scheduler's configuration as diffusers writes it: every key is written, and a value that is not implemented is
// refused by name. Defaults of absent keys are those of diffusers 0.42.
#include "trainer/model_config.hpp"

#include <fmt/format.h>

#include "core/error.hpp"
#include "trainer/config_reader.hpp"

namespace soup {
namespace {

constexpr const char* diffusers_version = "0.42.1";

template <class Config>
Config checked(Config config, const std::string& where) {
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw DataError(where, problem);
  }
  return config;
}

}  // namespace

nlohmann::json ScheduleConfig::to_json() const {
  return {
      {"_class_name", "DDIMScheduler"},
      {"_diffusers_version", diffusers_version},
      {"beta_end", beta_end},
      {"beta_schedule", beta_schedule},
      {"beta_start", beta_start},
      {"clip_sample", false},
      {"clip_sample_range", 1.0},
      {"dynamic_thresholding_ratio", 0.995},
      {"num_train_timesteps", num_train_timesteps},
      {"prediction_type", prediction_type},
      {"rescale_betas_zero_snr", false},
      {"sample_max_value", 1.0},
      {"set_alpha_to_one", false},
      {"steps_offset", 1},
      {"thresholding", false},
      {"timestep_spacing", "leading"},
      {"trained_betas", nullptr},
  };
}

ScheduleConfig ScheduleConfig::from_json(const nlohmann::json& json, const std::string& where) {
  ConfigReader reader(json, where, "scheduler");
  // Stable Diffusion 1 ships a PNDMScheduler: the same noise schedule, which is what a model is trained with.
  reader.only("_class_name", nullptr, {"DDIMScheduler", "PNDMScheduler"});
  const bool pndm = json.at("_class_name") == "PNDMScheduler";
  ScheduleConfig config;
  config.num_train_timesteps = reader.integer("num_train_timesteps", 1000);
  config.beta_schedule = reader.text("beta_schedule", "linear");
  config.beta_start = reader.number("beta_start", 0.0001);
  config.beta_end = reader.number("beta_end", 0.02);
  config.prediction_type = reader.text("prediction_type", "epsilon");
  reader.only("clip_sample", !pndm, {false});
  reader.only("rescale_betas_zero_snr", false, {false});
  reader.only("set_alpha_to_one", !pndm, {false});
  reader.only("skip_prk_steps", pndm, {pndm});
  reader.only("steps_offset", 0, {1});
  reader.only("thresholding", false, {false});
  reader.only("timestep_spacing", "leading", {"leading"});
  reader.only("trained_betas", nullptr, {nullptr});
  for (const char* key : {"clip_sample_range", "dynamic_thresholding_ratio", "sample_max_value"}) {
    reader.ignore(key);  // read only with clip_sample or thresholding
  }
  reader.finish();
  return checked(std::move(config), where);
}

std::string ScheduleConfig::problem() const {
  if (num_train_timesteps < 1) {
    return fmt::format("num_train_timesteps = {} must be at least 1", num_train_timesteps);
  }
  if (beta_schedule != "squaredcos_cap_v2" && beta_schedule != "linear" && beta_schedule != "scaled_linear") {
    return fmt::format("beta_schedule = {} is not implemented, only squaredcos_cap_v2, linear and scaled_linear",
                       beta_schedule);
  }
  if (!(beta_start > 0.0 && beta_start <= beta_end && beta_end < 1.0)) {
    return fmt::format("0 < beta_start <= beta_end < 1 must hold, but beta_start = {} and beta_end = {}", beta_start,
                       beta_end);
  }
  if (prediction_type != "v_prediction" && prediction_type != "epsilon") {
    return fmt::format("prediction_type = {} is not implemented, only v_prediction and epsilon", prediction_type);
  }
  return {};
}

}  // namespace soup
