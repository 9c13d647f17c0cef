// An 8-bit image in memory; PNG and SVG in (libvips), PNG out (zlib).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace soup {

// Rows top to bottom, channels interleaved: pixels[(y * width + x) * channels + c].
struct Image {
  int height = 0;
  int width = 0;
  int channels = 3;
  std::vector<std::uint8_t> pixels;
};

// Decodes a PNG or SVG file, composites alpha over white, fits it into size x size (keeping the aspect ratio, white
// borders, Lanczos for reduction) and returns RGB. SVGs are rendered at that size. A drawing in one light grey, made
// for dark panels, is inverted, since it would vanish on white. Throws DataError.
//
// Starts libvips, whose threads do not survive a fork: importers call it only inside the processes of
// data/decode_pool.hpp.
Image load_icon(const std::filesystem::path& path, int size);
// Whether this process has started libvips.
[[nodiscard]] bool decoder_started();

void write_png(const std::filesystem::path& path, const Image& image);
// PNG bytes in memory, e.g. for a data: URI.
std::vector<std::uint8_t> encode_png(const Image& image);

// A white RGB image.
Image white_image(int height, int width);
// Puts `image`, each pixel repeated `zoom` times, with its upper left corner at (top, left) of a sheet of as many
// channels; what lies beyond the sheet is cut off.
void paste(const Image& image, int top, int left, int zoom, Image& sheet);

// Lays cells (equal sizes, row-major, `columns` a row) on a white sheet with `gap` pixels between, each pixel repeated
// `zoom` times.
Image image_grid(std::span<const Image> cells, int columns, int gap, int zoom);

}  // namespace soup
