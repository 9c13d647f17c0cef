// AutoencoderKL: images to the mean and variance of their latents and back (Kingma and Welling 2014; Rombach et al.
// 2022, section 3.1 and appendix G), with diffusers' parameter names.
#pragma once

#include <torch/nn/module.h>

#include <memory>

#include "trainer/autoencoder.hpp"
#include "trainer/autoencoder_config.hpp"
#include "trainer/autoencoder_kl_blocks.hpp"

namespace soup {

class AutoencoderKL : public torch::nn::Module {
 public:
  explicit AutoencoderKL(const AutoencoderKLConfig& config);
  // images [N, in_channels, H, W] in [-1, 1] -> mean and log variance [N, 2 latent_channels, H / factor, W / factor].
  // Throws InvariantError for sizes that are no multiple of the factor.
  [[nodiscard]] at::Tensor encode(const at::Tensor& images) const;
  // Unscaled latents [N, latent_channels, h, w] -> images [N, out_channels, h factor, w factor].
  [[nodiscard]] at::Tensor decode(const at::Tensor& latents) const;
  [[nodiscard]] const AutoencoderKLConfig& config() const { return config_; }

 private:
  AutoencoderKLConfig config_;
  std::shared_ptr<KLEncoder> encoder_;
  std::shared_ptr<KLDecoder> decoder_;
  std::shared_ptr<Conv2d> quant_conv_;       // null without
  std::shared_ptr<Conv2d> post_quant_conv_;  // null without
};

// As what images reach the U-Net through. Its weights are never trained: they take no gradients, and nothing is kept
// for them. On a CPU images go through one by one: memory is that of one image (1.2 GB at 512 pixels, weights
// included), and what is kept of an image does not depend on those beside it. network() is the AutoencoderKL.
std::unique_ptr<Autoencoder> make_autoencoder(std::shared_ptr<AutoencoderKL> network);

}  // namespace soup
