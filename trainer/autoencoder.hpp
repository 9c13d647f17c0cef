// How images reach the U-Net: pixels to latents and back. AutoencoderKL will be a third implementation.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

namespace soup {

class Autoencoder {
 public:
  virtual ~Autoencoder() = default;
  // images: float [N, C, H, W] in [-1, 1] -> latents [N, latent_channels, H / factor, W / factor].
  [[nodiscard]] virtual at::Tensor encode(const at::Tensor& images) const = 0;
  [[nodiscard]] virtual at::Tensor decode(const at::Tensor& latents) const = 0;
  [[nodiscard]] virtual std::int64_t factor() const = 0;
  [[nodiscard]] virtual std::int64_t latent_channels(std::int64_t image_channels) const = 0;
  [[nodiscard]] virtual std::string name()
      const = 0;  // "identity", "space_to_depth_2": the YAML's and autoencoder/config.json's word
};

// Throws ConfigError for an unknown name.
std::unique_ptr<Autoencoder> make_autoencoder(const std::string& name);

}  // namespace soup
