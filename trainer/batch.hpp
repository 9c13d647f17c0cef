// One training batch: images, captions, noise and timesteps, all a pure function of the global image counter.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/batches.hpp"
#include "trainer/autoencoder.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/train_config.hpp"
#include "trainer/training_images.hpp"

namespace soup {

struct Batch {
  at::Tensor images;        // float [N, C, H, W] in [-1, 1]
  at::Tensor latent_noise;  // as the latents, to draw them from their distribution; undefined: not drawn
  LatentNoise noise;
  at::Tensor timesteps;               // int64 [N]
  std::vector<std::string> captions;  // what the text encoder is given: dropped, plain or styled
};

// Draws from the streams "order", "noise", "timestep", "caption" and, where they are used, "latent", "noise_offset" and
// "perturbation" of `scope`, so 1 or 4 ranks, now or after a resume, draw the same.
class BatchMaker {
 public:
  BatchMaker(std::shared_ptr<const TrainingImages> images, const TrainConfig& config, SeedTree seeds, std::string scope,
             std::shared_ptr<const Autoencoder> autoencoder, std::int64_t timesteps);

  // Images first_counter ... first_counter + count - 1 of the run.
  [[nodiscard]] Batch make(std::uint64_t first_counter, std::int64_t count);

 private:
  [[nodiscard]] std::string caption_of(std::uint64_t counter, std::uint64_t index) const;
  // Standard normal latents of images first_counter ..., each from its own stream.
  [[nodiscard]] at::Tensor normal(const std::string& purpose, std::uint64_t first_counter, at::IntArrayRef shape) const;

  std::shared_ptr<const TrainingImages> images_;
  TrainConfig config_;
  SeedTree seeds_;
  std::string scope_;
  std::shared_ptr<const Autoencoder> autoencoder_;
  std::int64_t timesteps_;
  SampleOrder order_;
};

}  // namespace soup
