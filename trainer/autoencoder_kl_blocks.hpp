// The encoder and the decoder of an AutoencoderKL, in diffusers' names (models/autoencoders/vae.py defines them).
#pragma once

#include <torch/nn/module.h>

#include <memory>

#include "trainer/autoencoder_config.hpp"
#include "trainer/unet_blocks.hpp"

namespace soup {

class KLMidBlock;
class KLDownBlock;
class KLUpBlock;

// Images [N, in_channels, H, W] -> [N, 2 latent_channels, H / factor, W / factor].
class KLEncoder : public torch::nn::Module {
 public:
  explicit KLEncoder(const AutoencoderKLConfig& config);
  [[nodiscard]] at::Tensor forward(const at::Tensor& images) const;

 private:
  std::shared_ptr<Conv2d> conv_in_;
  std::shared_ptr<ModuleSequence<KLDownBlock>> down_blocks_;
  std::shared_ptr<KLMidBlock> mid_block_;
  std::shared_ptr<GroupNorm> conv_norm_out_;
  std::shared_ptr<Conv2d> conv_out_;
};

// [N, latent_channels, h, w] -> images [N, out_channels, h factor, w factor].
class KLDecoder : public torch::nn::Module {
 public:
  explicit KLDecoder(const AutoencoderKLConfig& config);
  [[nodiscard]] at::Tensor forward(const at::Tensor& latents) const;

 private:
  std::shared_ptr<Conv2d> conv_in_;
  std::shared_ptr<ModuleSequence<KLUpBlock>> up_blocks_;
  std::shared_ptr<KLMidBlock> mid_block_;
  std::shared_ptr<GroupNorm> conv_norm_out_;
  std::shared_ptr<Conv2d> conv_out_;
};

}  // namespace soup
