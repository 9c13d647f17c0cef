// The seal of a shard file: a text block before the HDF5 content (a "user block" in HDF5's terms) that says where the
// large blocks lie and what everything else hashes to, so that a damaged file is refused before HDF5 parses it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/digest.hpp"

namespace soup {

// A part of a file, in bytes from its start.
struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  bool operator==(const ByteRange&) const = default;
};

struct ShardSeal {
  int version = 0;
  std::uint64_t seal_bytes = 0;  // of this block: a power of two, 512 or more
  std::uint64_t file_bytes = 0;  // the whole file, this block included
  std::vector<ByteRange>
      blocks;   // pixels, moments and text states, ascending: not in `rest`, found damaged by verify()
  Digest rest;  // SHA-256 of all bytes but the seal and the blocks
};

// Length of the seal of a file with so many blocks.
std::uint64_t seal_bytes_for(std::size_t blocks);

// SHA-256 of the file at `path` from the end of the seal, leaving out the blocks. Throws DataError.
Digest digest_without_blocks(const std::filesystem::path& path, const ShardSeal& seal);

// Overwrites the first `seal.seal_bytes` bytes of an existing file.
void write_seal(const std::filesystem::path& path, const ShardSeal& seal);

// Reads the seal and checks all it says. Throws DataError: not a shard file, another version, truncated, damaged.
ShardSeal check_seal(const std::filesystem::path& path);

}  // namespace soup
