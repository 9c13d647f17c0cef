// Images, shards and files whose content is known, for the tests of data/.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/random.hpp"
#include "data/shard_file.hpp"
#include "data/shard_writer.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup::test {

// Random pixels, another image for another seed.
inline Image noise_image(int height, int width, int channels, std::uint64_t seed) {
  Image image{height, width, channels, {}};
  RandomStream stream = SeedTree(seed).stream("test image", "", 0);
  image.pixels.resize(static_cast<std::size_t>(height) * width * channels);
  for (std::uint8_t& pixel : image.pixels) {
    pixel = static_cast<std::uint8_t>(stream.below(256));
  }
  return image;
}

inline Image flat_image(int height, int width, std::uint8_t value) {
  return {height, width, 3, std::vector<std::uint8_t>(static_cast<std::size_t>(height) * width * 3, value)};
}

inline Sample sample(Image image, const std::string& caption, const std::string& key) {
  return {std::move(image), caption, key, "oxygen", "32x32/" + key + ".png"};
}

inline const ShardOrigin origin{"north", "icon theme north", "north-icon-theme", "LGPL-3+"};

// A shard of `images` 6 x 5 noise images with captions "apps word<i>".
inline void write_noise_shard(const std::filesystem::path& path, std::uint64_t images, std::uint64_t seed = 1) {
  ShardWriter writer(path, origin, 6, 5, 3);
  for (std::uint64_t i = 0; i < images; ++i) {
    const std::string key = "word" + std::to_string(i);
    writer.append(sample(noise_image(6, 5, 3, seed * 1000 + i), "apps " + key, key));
  }
  writer.finish();
}

inline void write_text(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Entries directly in a folder.
inline std::size_t count_entries(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

// The message of the DataError that `call` throws; fails the test when it throws none.
template <typename Call>
std::string data_error(Call call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no DataError was thrown";
  return {};
}

}  // namespace soup::test
