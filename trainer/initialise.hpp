// Fresh weights: PyTorch's, diffusers' and CLIP's default distributions, drawn from named streams.
#pragma once

#include <string>

#include "core/random.hpp"
#include "trainer/autoencoder_kl.hpp"
#include "trainer/clip_text.hpp"
#include "trainer/unet.hpp"

namespace soup {

// Each parameter is drawn from stream("init", "<prefix>.<parameter>", 0): its value depends on the root seed and its
// name only. Convolutions and linear maps: uniform within 1 / sqrt(fan in), biases alike (He et al. 2015 with a =
// sqrt(5), PyTorch's default); norms: 1 and 0.
void initialise(UNet2DConditionModel& unet, const std::string& prefix, SeedTree seeds);
void initialise(AutoencoderKL& vae, const std::string& prefix, SeedTree seeds);
// As transformers' CLIPPreTrainedModel._init_weights: normal weights scaled by width and depth, biases 0.
void initialise(CLIPTextModel& text, const std::string& prefix, SeedTree seeds);

}  // namespace soup
