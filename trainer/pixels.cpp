// Bytes of images to the tensors that networks see.
#include "trainer/pixels.hpp"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/error.hpp"

namespace soup {

at::Tensor pixels_to_tensor(const std::vector<std::span<const std::uint8_t>>& images, int height, int width,
                            int channels) {
  at::Tensor bytes = at::empty({static_cast<std::int64_t>(images.size()), height, width, channels}, at::kByte);
  std::uint8_t* out = bytes.data_ptr<std::uint8_t>();
  for (const std::span<const std::uint8_t> image : images) {
    SOUP_REQUIRE(image.size() == static_cast<std::size_t>(height) * width * channels,
                 "image of another size in a batch");
    out = std::copy(image.begin(), image.end(), out);
  }
  return bytes.permute({0, 3, 1, 2})
      .to(at::kFloat, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous)
      .div_(127.5)
      .sub_(1.0);
}

}  // namespace soup
