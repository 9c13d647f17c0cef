// A picture of any kind and size fitted to the size that a model learns from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/image.hpp"
#include "data/image_size.hpp"

namespace soup {

enum class Fit {
  crop,  // cover the size, and cut the rest off both ends
  pad    // fit into the size, on white
};

struct PictureOptions {
  std::vector<ImageSize> sizes = {};  // one, or aspect-ratio buckets
  Fit fit = Fit::crop;
  int min_side = 0;  // pixels; pictures whose smaller side is less are refused as too small
  // Pixels of the largest picture that is decoded: where Pillow takes one for a decompression bomb.
  std::uint64_t max_pixels = 178'956'970;
};

struct Picture {
  std::optional<Image> image;  // absent: too small
  std::string_view format;     // "PNG", "JPEG", "WebP" or "SVG", by its content
  ImageSize original;          // upright
};

// Decodes PNG, JPEG, WebP (the first frame of an animation) or SVG bytes: upright by EXIF, to sRGB by an embedded ICC
// profile (without one it is sRGB already), alpha over white; scaled by Lanczos 3, smaller or larger, to the nearest of
// the sizes. Throws DataError, whose message begins with `name`: another format, damaged, truncated, more than
// max_pixels by its header.
//
// Starts libvips, whose threads do not survive a fork: called only inside the processes of data/decode_pool.hpp.
Picture load_picture(std::span<const std::byte> bytes, const std::string& name, const PictureOptions& options);

// The format that a file's name promises, by its extension; "" when it promises none of the four.
std::string_view format_of_name(std::string_view name);

}  // namespace soup
