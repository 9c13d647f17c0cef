// What a training run is told: everything counted in images. One struct for base, ingredient and paragon; torch-free.
#pragma once

#include <cstdint>
#include <string>

namespace soup {

struct TrainConfig {
  std::uint64_t images = 9600;  // images seen in all (a multiple of batch)
  std::int64_t batch = 32;      // images per optimizer step, over the whole group
  double learning_rate = 1e-3;
  std::uint64_t warmup_images = 1000;  // linear from 0
  std::string lr_schedule = "cosine";  // "constant", or "cosine" to final_lr_fraction of the rate
  double final_lr_fraction = 0.1;
  double weight_decay = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double epsilon = 1e-8;
  double clip_norm = 1.0;                     // global gradient norm; 0 = off
  double caption_dropout = 0.1;               // probability of the empty caption (classifier-free guidance)
  double style_dropout = 0.3;                 // probability of leaving the style words out of a caption that is kept
  std::uint64_t ema_halflife_images = 10000;  // EMA: half of the weight comes from the last so many images
  double ema_rampup =
      0.05;  // half-life is at most this fraction of the images seen so far (Karras et al. 2024, section 3.1)
  bool train_text_encoder = false;
  std::uint64_t checkpoint_images =
      50000;                          // a checkpoint every so many images (and at the end of the run or on a signal)
  std::uint64_t log_images = 1000;    // a point of the loss curve every so many images
  std::uint64_t validate_images = 0;  // held-out loss every so many images; 0 = never
  bool snapshots = false;  // with each checkpoint also a model folder `snapshot` of the EMA weights, to sample from
};

}  // namespace soup
