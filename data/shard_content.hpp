// The parts of a shard: what its file holds, in words that its writer and its reader share. Layout: data/README.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace soup {

inline constexpr int shard_file_version = 2;

// Where a shard's content came from; kept as attributes of the file's root.
struct ShardOrigin {
  std::string name;     // shard name
  std::string source;   // "icon theme oxygen", ...
  std::string package;  // Debian package or empty
  std::string licence;  // as the source states it
};

// Images of one size: `count` of them from number `first` on. Buckets are ordered by height, then width.
struct Bucket {
  int height = 0;
  int width = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  bool operator==(const Bucket&) const = default;
};

enum class FloatType { f16, f32 };
[[nodiscard]] constexpr std::uint64_t bytes_of(FloatType type) {
  return type == FloatType::f16 ? 2 : 4;
}

// What an image encoder made of every image: `channels` x height/factor x width/factor numbers each.
struct MomentsFormat {
  FloatType type = FloatType::f16;
  int channels = 8;     // mean and logarithm of the variance of 4 latent channels
  int factor = 8;       // image pixels a latent pixel
  std::string encoder;  // its digest
  bool operator==(const MomentsFormat&) const = default;
  [[nodiscard]] std::uint64_t image_bytes(int height, int width) const {
    return static_cast<std::uint64_t>(channels) * (height / factor) * (width / factor) * bytes_of(type);
  }
};

// What a text encoder made of every different text: `tokens` x `width` numbers each.
struct TextStatesFormat {
  FloatType type = FloatType::f16;
  std::uint64_t texts = 0;  // how many
  int tokens = 77;
  int width = 768;
  std::string encoder;  // its digest
  bool operator==(const TextStatesFormat&) const = default;
  [[nodiscard]] std::uint64_t text_bytes() const { return static_cast<std::uint64_t>(tokens) * width * bytes_of(type); }
};

// Numbers of an image's texts among the text states.
struct TextIndex {
  std::uint32_t plain = 0;   // the caption
  std::uint32_t styled = 0;  // the caption with its style word
};

}  // namespace soup
