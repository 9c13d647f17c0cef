// The seal of a shard file: a 512-byte text block before the HDF5 content (a "user block" in HDF5's terms) that says
// where the pixels lie and what everything else hashes to, so that a damaged file is refused before HDF5 parses it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/digest.hpp"

namespace soup {

inline constexpr std::uint64_t shard_seal_bytes = 512;

struct ShardSeal {
  int version = 0;
  std::uint64_t file_bytes = 0;     // the whole file, this block included
  std::uint64_t pixels_offset = 0;  // bytes from the start of the file
  std::uint64_t pixels_bytes = 0;
  Digest rest;  // SHA-256 of all bytes but the seal and the pixels: what HDF5 reads
};

// SHA-256 of the file at `path` from the end of the seal, leaving out the pixels.
Digest digest_without_pixels(const std::filesystem::path& path, std::uint64_t file_bytes, std::uint64_t pixels_offset,
                             std::uint64_t pixels_bytes);

// Overwrites the first 512 bytes of an existing file.
void write_seal(const std::filesystem::path& path, const ShardSeal& seal);

// Reads the seal and checks all it says. Throws DataError: not a shard file, another version, truncated, damaged.
ShardSeal check_seal(const std::filesystem::path& path);

}  // namespace soup
