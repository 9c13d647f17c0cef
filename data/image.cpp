#include "data/image.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup {
namespace {

void require_whole(const Image& image) {
  SOUP_REQUIRE(image.width > 0 && image.height > 0 &&
                   (image.channels == 1 || image.channels == 3 || image.channels == 4) &&
                   image.pixels.size() == static_cast<std::size_t>(image.width) * image.height * image.channels,
               "an image has 1, 3 or 4 channels and the pixels of its size");
}

void append_u32(std::vector<std::uint8_t>& out, std::uint32_t value) {  // big endian
  for (int shift = 24; shift >= 0; shift -= 8) {
    out.push_back(static_cast<std::uint8_t>(value >> shift));
  }
}

void append_chunk(std::vector<std::uint8_t>& out, std::string_view type, std::span<const std::uint8_t> content) {
  append_u32(out, static_cast<std::uint32_t>(content.size()));
  const std::size_t start = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), content.begin(), content.end());
  append_u32(out, static_cast<std::uint32_t>(crc32_z(0, out.data() + start, out.size() - start)));
}

}  // namespace

// Written here, after the PNG specification (ISO/IEC 15948), and not by libvips: libvips starts threads, which the
// processes that train and import (MPI, fork) must not have; data/decode_pool.hpp keeps it in processes of its own.
std::vector<std::uint8_t> encode_png(const Image& image) {
  require_whole(image);
  const std::size_t row_bytes = static_cast<std::size_t>(image.width) * image.channels;
  std::vector<std::uint8_t> rows;
  rows.reserve((row_bytes + 1) * image.height);
  for (int y = 0; y < image.height; ++y) {
    rows.push_back(0);  // filter type "none"
    const auto row = image.pixels.begin() + static_cast<std::ptrdiff_t>(y * row_bytes);
    rows.insert(rows.end(), row, row + static_cast<std::ptrdiff_t>(row_bytes));
  }
  uLongf bytes = compressBound(rows.size());
  std::vector<std::uint8_t> compressed(bytes);
  SOUP_REQUIRE(compress2(compressed.data(), &bytes, rows.data(), rows.size(), Z_BEST_COMPRESSION) == Z_OK,
               "compression into a buffer of compressBound bytes succeeds");
  compressed.resize(bytes);

  std::vector<std::uint8_t> header;
  append_u32(header, static_cast<std::uint32_t>(image.width));
  append_u32(header, static_cast<std::uint32_t>(image.height));
  const std::uint8_t colour_type = image.channels == 1 ? 0 : image.channels == 3 ? 2 : 6;
  header.insert(header.end(), {8, colour_type, 0, 0, 0});  // 8 bits; deflate; filter method 0; not interlaced

  std::vector<std::uint8_t> png{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  append_chunk(png, "IHDR", header);
  append_chunk(png, "IDAT", compressed);
  append_chunk(png, "IEND", {});
  return png;
}

void write_png(const std::filesystem::path& path, const Image& image) {
  const std::vector<std::uint8_t> png = encode_png(image);
  write_file_atomically(path, std::string_view(reinterpret_cast<const char*>(png.data()), png.size()));
}

Image white_image(int height, int width) {
  return {height, width, 3, std::vector<std::uint8_t>(static_cast<std::size_t>(height) * width * 3, 255)};
}

void paste(const Image& image, int top, int left, int zoom, Image& sheet) {
  SOUP_REQUIRE(image.channels == sheet.channels && zoom > 0, "a sheet takes images of its channels");
  for (int y = std::max(0, -top); y < std::min(image.height * zoom, sheet.height - top); ++y) {
    for (int x = std::max(0, -left); x < std::min(image.width * zoom, sheet.width - left); ++x) {
      const auto from = (static_cast<std::size_t>(y / zoom) * image.width + x / zoom) * image.channels;
      const auto to = (static_cast<std::size_t>(top + y) * sheet.width + left + x) * image.channels;
      std::copy_n(&image.pixels[from], image.channels, &sheet.pixels[to]);
    }
  }
}

Image image_grid(std::span<const Image> cells, int columns, int gap, int zoom) {
  SOUP_REQUIRE(!cells.empty() && columns > 0 && gap >= 0 && zoom > 0, "a grid has cells, columns and a zoom");
  const Image& first = cells.front();
  const int count = static_cast<int>(cells.size());
  const int used_columns = std::min(columns, count);
  const int rows = (count + columns - 1) / columns;
  Image sheet;
  sheet.channels = first.channels;
  sheet.width = used_columns * first.width * zoom + (used_columns - 1) * gap;
  sheet.height = rows * first.height * zoom + (rows - 1) * gap;
  sheet.pixels.assign(static_cast<std::size_t>(sheet.width) * sheet.height * sheet.channels, 255);
  for (int cell = 0; cell < count; ++cell) {
    const Image& image = cells[static_cast<std::size_t>(cell)];
    require_whole(image);
    SOUP_REQUIRE(image.width == first.width && image.height == first.height && image.channels == first.channels,
                 "the cells of a grid have one size");
    const int left = cell % columns * (first.width * zoom + gap);
    const int top = cell / columns * (first.height * zoom + gap);
    paste(image, top, left, zoom, sheet);
  }
  return sheet;
}

}  // namespace soup
