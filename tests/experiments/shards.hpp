// Small shard files for the tests of scorer, prompts, evaluation and report.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/shard_file.hpp"
#include "data/shard_writer.hpp"

namespace soup::test {

// `names` icons of one style. Icon i is called "thing<letters of i>" in context "apps" or "places" by turns; its
// picture is a square whose place depends on i and whose colour depends on the style.
inline std::string thing(int i) {
  return std::string("thing") + static_cast<char>('a' + i / 26) + static_cast<char>('a' + i % 26);
}

inline ShardFile make_shard(const std::filesystem::path& folder, const std::string& name, const std::string& style,
                            int names, int size, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  const std::filesystem::path path = folder / (name + ".h5");
  ShardWriter writer(path, {name, "test icons " + style, "", "CC0-1.0"}, size, size, 3);
  for (int i = 0; i < names; ++i) {
    Image image{size, size, 3, std::vector<std::uint8_t>(static_cast<std::size_t>(size) * size * 3, 255)};
    const int half = size / 2;
    for (int y = 0; y < half; ++y) {
      for (int x = 0; x < half; ++x) {
        const int row = y + (i % 2) * half;
        const int column = x + (i / 2 % 2) * half;
        auto* pixel = image.pixels.data() + (static_cast<std::size_t>(row) * size + column) * 3;
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

}  // namespace soup::test
