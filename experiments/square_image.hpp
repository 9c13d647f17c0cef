// The middle squares of images of any sizes, for who looks at squares of one size: scorers and pictures of a report.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "data/image.hpp"
#include "data/shard_file.hpp"

namespace soup {

// The longest shorter side of their images: the squares of most of them need no enlarging to it.
[[nodiscard]] int longest_square(std::span<const ShardFile> shards);

// What is left when an RGB image's longer side is cut at both ends alike, scaled to side x side (bilinear, over the
// whole area where it gets smaller): float [3, side, side] in [-1, 1]. Throws DataError for other than RGB.
[[nodiscard]] at::Tensor square_tensor(const Image& image, std::int64_t side);
// The same as an image; one of that size as it is.
[[nodiscard]] Image square_image(const Image& image, int side);

}  // namespace soup
