// Bytes of images to the tensors that networks see, and back.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "data/image.hpp"

namespace soup {

// uint8, channels interleaved -> float [N, C, H, W] in [-1, 1].
at::Tensor pixels_to_tensor(const std::vector<std::span<const std::uint8_t>>& images, int height, int width,
                            int channels);
// float [N, C, H, W] in [-1, 1] -> uint8 images; values outside are cut off. And back, of images of one size.
std::vector<Image> to_images(const at::Tensor& pixels);
at::Tensor to_tensor(const std::vector<Image>& images);

}  // namespace soup
