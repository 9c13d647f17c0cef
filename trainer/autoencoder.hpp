// How images reach the U-Net: pixels to latents and back.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>

namespace soup {

class Autoencoder {
 public:
  virtual ~Autoencoder() = default;
  // images: float [N, C, H, W] in [-1, 1] -> what is kept of them [N, moment_channels, H / factor, W / factor]: the
  // latents themselves, or mean and log variance of their distribution (Kingma and Welling 2014), unscaled.
  [[nodiscard]] virtual at::Tensor encode(const at::Tensor& images) const = 0;
  // Moments -> scaled latents [N, latent_channels, h, w]. noise: standard normal, as latents; undefined: the mean.
  [[nodiscard]] virtual at::Tensor latents(const at::Tensor& moments, const at::Tensor& noise) const = 0;
  // Scaled latents -> images.
  [[nodiscard]] virtual at::Tensor decode(const at::Tensor& latents) const = 0;
  // Whether latents() uses its noise.
  [[nodiscard]] virtual bool samples() const = 0;
  [[nodiscard]] virtual std::int64_t factor() const = 0;
  [[nodiscard]] virtual std::int64_t latent_channels(std::int64_t image_channels) const = 0;
  // "identity", "space_to_depth_2" (the YAML's and autoencoder/config.json's words), "AutoencoderKL".
  [[nodiscard]] virtual std::string name() const = 0;
  // The network behind it, or nullptr: to be moved to a device, saved, hashed.
  [[nodiscard]] virtual torch::nn::Module* network() = 0;
};

// One of the two without weights. Throws ConfigError for an unknown name.
std::unique_ptr<Autoencoder> make_autoencoder(const std::string& name);

}  // namespace soup
