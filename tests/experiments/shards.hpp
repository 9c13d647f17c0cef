// Small shard files for the tests of scorer, prompts, evaluation and report.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/image_size.hpp"
#include "data/shard_file.hpp"
#include "data/shard_writer.hpp"

namespace soup::test {

// `names` icons of one style. Icon i is called "thing<letters of i>" in context "apps" or "places" by turns; its
// picture is a square whose place depends on i and whose colour depends on the style.
inline std::string thing(int i) {
  return std::string("thing") + static_cast<char>('a' + i / 26) + static_cast<char>('a' + i % 26);
}

// Icons take the sizes in turn.
inline ShardFile make_shard(const std::filesystem::path& folder, const std::string& name, const std::string& style,
                            int names, const std::vector<ImageSize>& sizes, std::uint8_t red, std::uint8_t green,
                            std::uint8_t blue) {
  const std::filesystem::path path = folder / (name + ".h5");
  ShardWriter writer(path, {name, "test icons " + style, "", "CC0-1.0"}, sha256("test icons"));
  for (int i = 0; i < names; ++i) {
    const auto [height, width] = sizes[static_cast<std::size_t>(i) % sizes.size()];
    Image image = white_image(height, width);
    for (int y = 0; y < height / 2; ++y) {
      for (int x = 0; x < width / 2; ++x) {
        const int row = y + (i % 2) * (height / 2);
        const int column = x + (i / 2 % 2) * (width / 2);
        auto* pixel = image.pixels.data() + (static_cast<std::size_t>(row) * width + column) * 3;
        pixel[0] = red;
        pixel[1] = green;
        pixel[2] = static_cast<std::uint8_t>(blue ^ (i & 63));  // no two icons alike
      }
    }
    const std::string context = i % 2 == 0 ? "apps" : "places";
    writer.append({image, context + " " + thing(i), thing(i), style, fmt::format("{}.png", i)});
  }
  writer.finish();
  return ShardFile(path);
}

inline ShardFile make_shard(const std::filesystem::path& folder, const std::string& name, const std::string& style,
                            int names, int size, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  return make_shard(folder, name, style, names, std::vector<ImageSize>{{size, size}}, red, green, blue);
}

}  // namespace soup::test
