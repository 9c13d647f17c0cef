// Bytes of images to the tensors that networks see, and back.
#include "trainer/pixels.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

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

std::vector<Image> to_images(const at::Tensor& pixels) {
  SOUP_REQUIRE(pixels.dim() == 4, "pixels must be [N, C, H, W]");
  const at::Tensor bytes =
      ((pixels.detach() + 1.0) * 127.5).round().clamp(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous().cpu();
  const auto values = static_cast<std::size_t>(bytes.size(1) * bytes.size(2) * bytes.size(3));
  const std::uint8_t* next = bytes.const_data_ptr<std::uint8_t>();
  std::vector<Image> images(static_cast<std::size_t>(bytes.size(0)));
  for (Image& image : images) {
    image.height = static_cast<int>(bytes.size(1));
    image.width = static_cast<int>(bytes.size(2));
    image.channels = static_cast<int>(bytes.size(3));
    image.pixels.assign(next, next + values);
    next += values;
  }
  return images;
}

at::Tensor to_tensor(const std::vector<Image>& images) {
  if (images.empty()) {
    return at::empty({0, 3, 0, 0}, at::kFloat);
  }
  const Image& first = images.front();
  const auto values = static_cast<std::size_t>(first.height) * first.width * first.channels;
  at::Tensor bytes =
      at::empty({static_cast<std::int64_t>(images.size()), first.height, first.width, first.channels}, at::kByte);
  std::uint8_t* next = bytes.mutable_data_ptr<std::uint8_t>();
  for (const Image& image : images) {
    SOUP_REQUIRE(
        image.height == first.height && image.width == first.width && image.channels == first.channels &&
            image.pixels.size() == values,
        fmt::format("images must have one size: {} x {} x {} and {} x {} x {} with {} bytes", first.height, first.width,
                    first.channels, image.height, image.width, image.channels, image.pixels.size()));
    next = std::copy(image.pixels.begin(), image.pixels.end(), next);
  }
  return (bytes.permute({0, 3, 1, 2}).to(at::kFloat) / 127.5 - 1.0).contiguous();
}

}  // namespace soup
