// scheduler_config.json: what is read, what is refused by name, what is written back.
#include "trainer/schedule_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace soup {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string refusal(const json& config) {
  try {
    (void)ScheduleConfig::from_json(config, "scheduler_config.json");
  } catch (const DataError& error) {
    return error.what();
  }
  return "nothing";
}

// scheduler/scheduler_config.json of Stable Diffusion 1.4.
const json stable_diffusion_1 = {{"_class_name", "PNDMScheduler"},
                                 {"_diffusers_version", "0.7.0.dev0"},
                                 {"beta_end", 0.012},
                                 {"beta_schedule", "scaled_linear"},
                                 {"beta_start", 0.00085},
                                 {"num_train_timesteps", 1000},
                                 {"set_alpha_to_one", false},
                                 {"skip_prk_steps", true},
                                 {"steps_offset", 1},
                                 {"trained_betas", nullptr},
                                 {"clip_sample", false}};

TEST(ScheduleConfig, RoundTripAndRefusals) {
  ScheduleConfig config;
  config.beta_schedule = "scaled_linear";
  config.prediction_type = "epsilon";
  EXPECT_EQ(ScheduleConfig::from_json(config.to_json(), "x").to_json(), config.to_json());
  const std::pair<const char*, json> changes[] = {
      {"clip_sample", true},       {"steps_offset", 1000},       {"steps_offset", -1},
      {"thresholding", true},      {"timestep_spacing", "late"}, {"rescale_betas_zero_snr", true},
      {"prediction_type", "flow"}, {"beta_schedule", "sigmoid"}, {"beta_start", 0.5},
      {"num_train_timesteps", 0},  {"trained_betas", {0.1}},     {"_class_name", "UniPCMultistepScheduler"},
      {"use_lu_lambdas", true},    {"algorithm_type", "sde"},    {"interpolation_type", "log_linear"},
      {"beta_end", "high"},        {"final_sigmas_type", "low"}, {"a_new_key", 1}};
  for (const auto& [key, value] : changes) {
    json changed = config.to_json();
    changed[key] = value;
    EXPECT_THAT(refusal(changed), HasSubstr(key)) << value;
  }
  EXPECT_THAT(refusal({{"_class_name", "DDIMScheduler"}}), HasSubstr("clip_sample"));
  EXPECT_THAT(refusal(json::array()), HasSubstr("array"));
}

TEST(ScheduleConfig, AbsentKeysMeanWhatTheirSchedulerMeans) {
  const ScheduleConfig pndm = ScheduleConfig::from_json(stable_diffusion_1, "x");
  EXPECT_EQ(pndm.prediction_type, "epsilon");
  EXPECT_EQ(pndm.beta_end, 0.012);
  EXPECT_EQ(pndm.timestep_spacing, "") << "its file does not say: a sampler's own";
  EXPECT_EQ(pndm.steps_offset, 1);
  EXPECT_FALSE(pndm.set_alpha_to_one);
  const ScheduleConfig euler = ScheduleConfig::from_json({{"_class_name", "EulerDiscreteScheduler"}}, "x");
  EXPECT_EQ(euler.steps_offset, 0);
  EXPECT_TRUE(euler.set_alpha_to_one);
  const ScheduleConfig solver =
      ScheduleConfig::from_json({{"_class_name", "DPMSolverMultistepScheduler"}, {"use_karras_sigmas", true}}, "x");
  EXPECT_TRUE(solver.use_karras_sigmas);
}

TEST(ScheduleConfig, AModelKeepsItsSchedulerUntilSomethingItSaysChanges) {
  ScheduleConfig config = ScheduleConfig::from_json(stable_diffusion_1, "x");
  EXPECT_EQ(config.to_json(), stable_diffusion_1);
  config.prediction_type = "v_prediction";
  config.rescale_betas_zero_snr = true;
  const json changed = config.to_json();
  EXPECT_EQ(changed["_class_name"], "DDIMScheduler");
  EXPECT_EQ(changed["prediction_type"], "v_prediction");
  EXPECT_EQ(changed["rescale_betas_zero_snr"], true);
  EXPECT_EQ(changed["beta_end"], 0.012);
  EXPECT_EQ(changed["steps_offset"], 1);
}

}  // namespace
}  // namespace soup
