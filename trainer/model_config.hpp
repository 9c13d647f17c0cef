// All that decides a model's shape: the configurations of its parts; torch-free.
#pragma once

#include <string>

#include "trainer/autoencoder_config.hpp"
#include "trainer/schedule_config.hpp"
#include "trainer/text_encoder_config.hpp"
#include "trainer/unet_config.hpp"

namespace soup {

struct ModelConfig {
  UNetConfig unet;
  TextEncoderConfig text_encoder;
  ScheduleConfig schedule;
  std::string autoencoder = "space_to_depth_2";  // or "identity", "AutoencoderKL"
  AutoencoderKLConfig vae;                       // of an AutoencoderKL
};

}  // namespace soup
