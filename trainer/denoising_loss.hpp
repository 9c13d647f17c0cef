// The training objective: noise an image, predict, compare; per image, for training and for evaluation.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "trainer/model.hpp"

namespace soup {

// Latents at noise level t (Ho et al. 2020, eq. 4) and the target: epsilon, or v = sqrt(a) eps - sqrt(1 - a) x
// (Salimans & Ho 2022, appendix D).
struct NoisedLatents {
  at::Tensor noised;  // as latents
  at::Tensor target;  // as latents
};
NoisedLatents add_noise(const NoiseSchedule& schedule, const at::Tensor& latents, const at::Tensor& noise,
                        const at::Tensor& timesteps);

// Mean squared error of the prediction per image: [N]. images float [N, C, H, W] in [-1, 1], noise with as many values,
// timesteps int64 [N].
at::Tensor denoising_loss(const DiffusionModel& model, const at::Tensor& images, const at::Tensor& noise,
                          const at::Tensor& timesteps, const at::Tensor& text);

// The loss of each image with its caption, without gradients, averaged over `draws` noise levels spread evenly over the
// schedule; noise and levels come from stream("validation", "", image number), so every model is measured on the same.
std::vector<double> denoising_losses(const DiffusionModel& model, const at::Tensor& images,
                                     const std::vector<std::string>& captions, SeedTree seeds, std::int64_t draws = 4);

}  // namespace soup
