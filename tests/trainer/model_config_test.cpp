// scheduler_config.json files: what diffusers writes is read, what is not implemented is refused by name.
#include "trainer/model_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace soup {
namespace {

using nlohmann::json;
using testing::HasSubstr;

template <class Config>
std::string refusal(const json& value) {
  try {
    Config::from_json(value, "folder/config.json");
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(ModelConfig, ScheduleRoundTripAndRefusals) {
  ScheduleConfig config;
  config.beta_schedule = "scaled_linear";
  config.prediction_type = "epsilon";
  EXPECT_EQ(ScheduleConfig::from_json(config.to_json(), "x").to_json(), config.to_json());
  const std::pair<const char*, json> changes[] = {
      {"clip_sample", true},         {"set_alpha_to_one", true},       {"steps_offset", 0},
      {"thresholding", true},        {"timestep_spacing", "trailing"}, {"rescale_betas_zero_snr", true},
      {"prediction_type", "sample"}, {"beta_schedule", "sigmoid"},     {"beta_start", 0.5},
      {"num_train_timesteps", 0},    {"trained_betas", {0.1}},         {"_class_name", "EulerDiscreteScheduler"}};
  for (const auto& [key, value] : changes) {
    json changed = config.to_json();
    changed[key] = value;
    EXPECT_THAT(refusal<ScheduleConfig>(changed), HasSubstr(key)) << value;
  }
  EXPECT_THAT(refusal<ScheduleConfig>({{"_class_name", "DDIMScheduler"}}), HasSubstr("clip_sample"));
}

TEST(ModelConfig, StableDiffusionsOwnSchedulerIsRead) {
  // scheduler/scheduler_config.json of Stable Diffusion 1.4.
  const json stable_diffusion = {{"_class_name", "PNDMScheduler"},
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
  const ScheduleConfig config = ScheduleConfig::from_json(stable_diffusion, "x");
  EXPECT_EQ(config.prediction_type, "epsilon");
  EXPECT_EQ(config.beta_end, 0.012);
}

}  // namespace
}  // namespace soup
