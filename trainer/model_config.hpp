// All that decides a model's shape: the configurations of its parts; torch-free.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "trainer/autoencoder_config.hpp"
#include "trainer/text_encoder_config.hpp"
#include "trainer/unet_config.hpp"

namespace soup {

// diffusers scheduler: how noise is added and what the network predicts.
struct ScheduleConfig {
  std::int64_t num_train_timesteps = 1000;
  std::string beta_schedule = "squaredcos_cap_v2";  // or "linear", "scaled_linear"
  double beta_start = 0.0001;
  double beta_end = 0.02;
  std::string prediction_type = "v_prediction";  // or "epsilon"

  [[nodiscard]] nlohmann::json to_json() const;  // scheduler_config.json of DDIMScheduler
  static ScheduleConfig from_json(const nlohmann::json& json, const std::string& where);
  [[nodiscard]] std::string problem() const;
};

struct ModelConfig {
  UNetConfig unet;
  TextEncoderConfig text_encoder;
  ScheduleConfig schedule;
  std::string autoencoder = "space_to_depth_2";  // or "identity", "AutoencoderKL"
  AutoencoderKLConfig vae;                       // of an AutoencoderKL
};

}  // namespace soup
