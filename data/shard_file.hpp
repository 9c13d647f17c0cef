// The HDF5 shard file: images, captions, digests and origin of one shard. Layout and version: data/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.hpp"
#include "data/image.hpp"

namespace soup {

inline constexpr int shard_file_version = 1;

// One image on its way into a shard.
struct Sample {
  Image image;
  std::string caption;  // UTF-8; "devices printer network"
  std::string key;      // caption key: what held-out is decided on; equal for the same name in every style
  std::string style;    // "oxygen"; empty where the source has none
  std::string source;   // where it came from, relative to the source's root
};

// Where a shard's content came from; kept as attributes of the file's root.
struct ShardOrigin {
  std::string name;     // shard name
  std::string source;   // "icon theme oxygen", ...
  std::string package;  // Debian package or empty
  std::string licence;  // as the source states it
};

// Streams samples into a new file; memory is bounded whatever the number of samples. Written beside and renamed by
// finish().
class ShardWriter {
 public:
  // All images must be height x width x channels.
  ShardWriter(const std::filesystem::path& path, ShardOrigin origin, int height, int width, int channels);
  ~ShardWriter();

  // Throws DataError: wrong image size, caption not UTF-8 or over 4,096 bytes.
  void append(const Sample& sample);
  // Writes digests and the Merkle root; throws DataError when no sample was appended.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Digest of one sample: SHA-256 over the pixel bytes, then caption, key and style as length-prefixed fields.
Digest sample_digest(std::span<const std::uint8_t> pixels, std::string_view caption, std::string_view key,
                     std::string_view style);

// An open shard file. Pixels are mapped, not read: a shard larger than memory works. Throws DataError: not HDF5,
// truncated, other version, missing or mis-shaped datasets, lengths that disagree.
class ShardFile {
 public:
  explicit ShardFile(const std::filesystem::path& path);
  ~ShardFile();
  ShardFile(ShardFile&&) noexcept;
  ShardFile& operator=(ShardFile&&) noexcept;

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] std::size_t size() const;  // images
  [[nodiscard]] int height() const;
  [[nodiscard]] int width() const;
  [[nodiscard]] int channels() const;
  [[nodiscard]] std::span<const std::uint8_t> pixels(std::size_t index) const;  // height * width * channels bytes
  [[nodiscard]] const std::string& caption(std::size_t index) const;
  [[nodiscard]] const std::string& key(std::size_t index) const;
  [[nodiscard]] const std::string& style(std::size_t index) const;
  [[nodiscard]] const std::string& source(std::size_t index) const;
  [[nodiscard]] const Digest& digest(std::size_t index) const;
  [[nodiscard]] const Digest& pixel_digest(std::size_t index) const;  // SHA-256 of the pixels alone (exact duplicates)
  [[nodiscard]] std::uint64_t perceptual_hash(std::size_t index) const;  // see data/duplicates.hpp
  [[nodiscard]] const Digest& root() const;                              // Merkle root over digest(i), as stored
  [[nodiscard]] const ShardOrigin& origin() const;

  // Recomputes every digest and the root; throws DataError naming the first image that disagrees.
  void verify() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soup
