// What a training run is told: everything counted in images. One struct for base, ingredient and paragon; torch-free.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

inline constexpr std::array<std::string_view, 3> learning_rate_schedules = {"constant", "cosine", "linear"};
inline constexpr std::array<std::string_view, 2> precisions = {"fp32", "bf16"};
inline constexpr std::array<std::string_view, 3> kept_weights = {"both", "raw", "ema"};

struct TrainConfig {
  std::uint64_t images = 9600;         // images seen in all (a multiple of batch)
  std::int64_t batch = 32;             // images per optimizer step, over the whole group
  std::int64_t micro_batch = 0;        // images of one rank per forward pass, gradients accumulated; 0: its whole share
  std::string precision = "fp32";      // of `precisions`: bf16 computes the networks in bfloat16, weights stay float32
  bool recompute_activations = false;  // forget them in the forward pass, compute them again in the backward pass

  double learning_rate = 1e-5;
  std::optional<double> text_encoder_learning_rate;  // where it is trained too; absent: the same
  std::uint64_t warmup_images = 1000;                // linear from 0
  std::string lr_schedule = "cosine";  // of learning_rate_schedules, down to final_lr_fraction of the rate
  double final_lr_fraction = 0.1;
  double weight_decay = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double epsilon = 1e-8;
  double clip_norm = 1.0;  // global gradient norm; 0 = off

  std::string prediction_type = "model";  // what the network learns to predict, of diffusers; model: as the base does
  bool zero_terminal_snr = false;         // train with the schedule rescaled (ScheduleConfig::rescale_betas_zero_snr)
  double min_snr_gamma = 0.0;             // loss weight min(SNR, gamma) / SNR (Hang et al. 2023, section 3.4); 0: off
  double noise_offset = 0.0;              // noise plus this times one normal number per image and channel; 0: off
  double input_perturbation = 0.0;  // the network sees noise plus this times other noise (Ning et al. 2023); 0: off
  double caption_dropout = 0.1;     // probability of the empty caption (classifier-free guidance)
  double style_dropout = 0.3;       // probability of leaving the style words out of a caption that is kept

  std::int64_t clip_skip = 1;  // which layer of the text encoder is the text's state: 1 the last, 2 the one before
  bool train_text_encoder = false;
  std::vector<std::string>
      frozen;  // patterns over names like "unet.down_blocks.0.resnets.0.conv1.weight"; * is any text

  std::uint64_t ema_halflife_images = 10000;  // EMA: half of the weight comes from the last so many images
  double ema_rampup =
      0.05;  // half-life is at most this fraction of the images seen so far (Karras et al. 2024, section 3.1)
  std::string keep_weights = "both";  // of kept_weights: what a finished ingredient holds, and so its soup

  std::uint64_t checkpoint_images =
      50000;                           // a checkpoint every so many images (and at the end of the run or on a signal)
  std::uint64_t keep_checkpoints = 2;  // the newest so many stay
  std::uint64_t log_images = 1000;     // a point of the loss curve every so many images
  std::uint64_t validate_images = 0;   // held-out loss every so many images; 0 = never
  bool snapshots = false;  // with each checkpoint also a model folder `snapshot` of the EMA weights, to sample from
  std::uint64_t sample_images = 0;          // pictures of sample_prompts every so many images; 0 = never
  std::vector<std::string> sample_prompts;  // always from the same noise

  // Whether the moving average is kept: raw weights alone need none, which saves their size in memory.
  [[nodiscard]] bool averages() const { return keep_weights != "raw"; }
};

}  // namespace soup
