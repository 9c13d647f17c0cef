// How many numbers a model holds, from its configuration alone: for predictions before anything is trained. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "trainer/model_config.hpp"

namespace soup {

struct ModelSize {
  std::uint64_t unet = 0;           // weights of the U-Net
  std::uint64_t text_encoder = 0;   // weights of the text encoder
  std::int64_t sample_size = 0;     // side of the latents
  std::int64_t first_channels = 0;  // of the U-Net's first level
  std::string autoencoder;
  std::int64_t factor = 1;  // side of a latent's pixel in image pixels

  [[nodiscard]] std::uint64_t all() const { return unet + text_encoder; }
};

// Of a model made from scratch.
ModelSize model_size(const ModelConfig& config);
// Of a model folder: its configuration, and the tensors its files really hold. Throws DataError.
ModelSize model_size(const std::filesystem::path& folder);

}  // namespace soup
