#include "experiments/square_image.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "trainer/pixels.hpp"

namespace soup {

int longest_square(std::span<const ShardFile> shards) {
  int side = 0;
  for (const ShardFile& shard : shards) {
    for (const Bucket& bucket : shard.buckets()) {
      side = std::max(side, std::min(bucket.height, bucket.width));
    }
  }
  return side;
}

at::Tensor square_tensor(const Image& image, std::int64_t side) {
  if (image.channels != 3 || image.pixels.size() != static_cast<std::size_t>(image.height) * image.width * 3) {
    throw DataError("scorer", fmt::format("an image of {} x {} x {} with {} bytes; images must be RGB", image.height,
                                          image.width, image.channels, image.pixels.size()));
  }
  const std::int64_t own = std::min(image.height, image.width);
  const at::Tensor square =
      to_tensor({image}).narrow(2, (image.height - own) / 2, own).narrow(3, (image.width - own) / 2, own);
  return (own == side ? square : at::_upsample_bilinear2d_aa(square.contiguous(), {side, side}, false))[0];
}

Image square_image(const Image& image, int side) {
  if (image.height == side && image.width == side) {
    return image;
  }
  return to_images(square_tensor(image, side).unsqueeze(0)).front();
}

}  // namespace soup
