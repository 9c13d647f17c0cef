// One training batch: images, captions, noise and timesteps, all a pure function of the global image counter.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/batches.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/model.hpp"
#include "trainer/train_config.hpp"
#include "trainer/training_images.hpp"

namespace soup {

struct Batch {
  at::Tensor images;        // float [N, C, H, W] in [-1, 1]; undefined where moments are
  at::Tensor moments;       // float [N, moments, h, w]: what the autoencoder made of the images, read from the shards
  at::Tensor latent_noise;  // as the latents, to draw them from their distribution; undefined: not drawn
  LatentNoise noise;
  at::Tensor timesteps;               // int64 [N]
  std::vector<std::string> captions;  // what the text encoder is given: dropped, plain or styled
  at::Tensor token_ids;               // int64 [N, L]: the captions' tokens; undefined where text_states are
  std::int64_t truncated = 0;         // captions longer than the text encoder takes, of those tokenized
  at::Tensor text_states;             // float [N, L, D]: what it made of them, read from the shards, or undefined

  // All tensors in page-locked memory, from which a GPU copies them while it computes.
  void pin();
};

// Which inputs are read from the shards instead of computed.
struct CachedInputs {
  bool moments = false;
  bool text_states = false;
};

// Draws from the streams "order", "noise", "timestep", "caption" and, where they are used, "latent", "noise_offset" and
// "perturbation" of `scope`, so 1 or 4 ranks, now or after a resume, draw the same.
class BatchMaker {
 public:
  BatchMaker(std::shared_ptr<const TrainingImages> images, const TrainConfig& config, SeedTree seeds, std::string scope,
             const DiffusionModel& model, CachedInputs cached = {});

  // Images first_counter ... first_counter + count - 1 of the run, all of one batch and so of one size.
  [[nodiscard]] Batch make(std::uint64_t first_counter, std::int64_t count);

 private:
  [[nodiscard]] TrainingImages::Text text_of(std::uint64_t counter) const;
  [[nodiscard]] std::string caption_of(std::uint64_t index, TrainingImages::Text text) const;
  // Standard normal latents of images first_counter ..., each from its own stream.
  [[nodiscard]] at::Tensor normal(const std::string& purpose, std::uint64_t first_counter, at::IntArrayRef shape) const;

  std::shared_ptr<const TrainingImages> images_;
  TrainConfig config_;
  SeedTree seeds_;
  std::string scope_;
  const DiffusionModel& model_;  // its weights are not read: they change in another thread meanwhile
  CachedInputs cached_;
  BucketOrder order_;
};

}  // namespace soup
