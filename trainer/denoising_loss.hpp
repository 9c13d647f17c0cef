// The training objective: noise an image, predict, compare; per image, for training and for evaluation.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/image.hpp"
#include "trainer/model.hpp"

namespace soup {

// The noise of a batch, all as the latents.
struct LatentNoise {
  at::Tensor added;      // what the network learns to tell from the image
  at::Tensor seen = {};  // what it is shown instead of `added` (Ning et al. 2023, algorithm 1); undefined: the same
};

// A noise schedule as tensors, on one device, and the loss over it.
class DenoisingObjective {
 public:
  // min_snr_gamma 0: every noise level counts alike.
  DenoisingObjective(const NoiseSchedule& schedule, at::Device device, double min_snr_gamma = 0.0);

  // Latents [N, C, H, W] at noise levels timesteps [N] int64 (Ho et al. 2020, eq. 4).
  [[nodiscard]] at::Tensor noised(const at::Tensor& latents, const LatentNoise& noise,
                                  const at::Tensor& timesteps) const;
  // What the network is to predict: the noise, v = sqrt(a) noise - sqrt(1 - a) latents (Salimans and Ho 2022, appendix
  // D) or the latents.
  [[nodiscard]] at::Tensor target(const at::Tensor& latents, const LatentNoise& noise,
                                  const at::Tensor& timesteps) const;
  // Weighted mean squared error per image: [N] float.
  [[nodiscard]] at::Tensor loss(const at::Tensor& prediction, const at::Tensor& target,
                                const at::Tensor& timesteps) const;

 private:
  [[nodiscard]] at::Tensor at_timesteps(const at::Tensor& values, const at::Tensor& timesteps) const;

  std::string prediction_type_;
  at::Tensor signal_;   // [T] sqrt(alpha-bar)
  at::Tensor sigma_;    // [T] sqrt(1 - alpha-bar)
  at::Tensor weights_;  // [T], undefined where all are 1
};

// The loss per image [N] of a model that is told the text; latents [N, C, H, W], timesteps int64 [N].
at::Tensor denoising_loss(const DiffusionModel& model, const DenoisingObjective& objective, const at::Tensor& latents,
                          const LatentNoise& noise, const at::Tensor& timesteps, const at::Tensor& text);

// The unweighted loss of each RGB image with its caption, without gradients, averaged over `draws` noise levels spread
// evenly over the schedule. Noise and levels come from stream("validation", "", image number), so every model is
// measured on the same. Images may have several sizes, of multiples of the autoencoder's factor; those of one are taken
// together.
std::vector<double> denoising_losses(const DiffusionModel& model, const std::vector<Image>& images,
                                     const std::vector<std::string>& captions, SeedTree seeds,
                                     std::int64_t clip_skip = 1, std::int64_t draws = 4);

}  // namespace soup
