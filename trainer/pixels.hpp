// Bytes of images to the tensors that networks see.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace soup {

// uint8, channels interleaved -> float [N, C, H, W] in [-1, 1].
at::Tensor pixels_to_tensor(const std::vector<std::span<const std::uint8_t>>& images, int height, int width,
                            int channels);

}  // namespace soup
