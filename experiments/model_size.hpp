// How many numbers a model holds, from its configuration alone: for predictions before anything is trained. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "trainer/model_config.hpp"

namespace soup {

// Of an autoencoder with weights.
struct AutoencoderSize {
  std::uint64_t weights = 0;
  double products = 0.0;      // multiplications that encode one image of the model's size
  std::uint64_t numbers = 0;  // of the largest of the encoder's inner images
  std::int64_t moments = 0;   // channels of what it makes of an image
};

struct ModelSize {
  std::uint64_t unet = 0;           // weights of the U-Net
  std::uint64_t text_encoder = 0;   // weights of the text encoder
  std::int64_t sample_size = 0;     // side of the latents
  std::int64_t first_channels = 0;  // of the U-Net's first level
  std::int64_t tokens = 0;          // of a text
  std::int64_t text_width = 0;      // numbers of a token's state
  std::string autoencoder;
  std::int64_t factor = 1;                      // side of a latent's pixel in image pixels
  std::optional<AutoencoderSize> encoder = {};  // absent where it has no weights

  [[nodiscard]] std::uint64_t all() const { return unet + text_encoder + (encoder ? encoder->weights : 0); }
};

// Of a model made from scratch.
ModelSize model_size(const ModelConfig& config);
// Of a model folder: its configuration, and the tensors its files really hold. Throws DataError.
ModelSize model_size(const std::filesystem::path& folder);

}  // namespace soup
