// What a shard keeps of one image beside its pixels, and how it waits in a file while its shard is made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.hpp"
#include "core/file_descriptor.hpp"
#include "data/image.hpp"

namespace soup {

// What is worked out from an image's pixels and texts.
struct ImageDigests {
  Digest sample;                      // sample_digest()
  Digest pixels;                      // SHA-256 of the pixels alone
  std::uint64_t perceptual_hash = 0;  // difference_hash()
};
ImageDigests digests_of(const Image& image, std::string_view caption, std::string_view key, std::string_view style);

// The texts are someone else's; they are UTF-8 of at most 4,096 bytes.
struct ShardRecord {
  std::string_view caption;
  std::string_view key;
  std::string_view style;
  std::string_view source;
  ImageDigests digests;
};

// Appends the record's bytes: four lengths (32 bits each), the digests, the texts.
void append_record(std::vector<std::byte>& out, const ShardRecord& record);

// Calls `visit` for each record of the first `bytes` bytes of a file of such records, in order, in constant memory.
// Throws DataError naming `reported` where they are not whole.
void each_record(const FileDescriptor& file, std::uint64_t bytes, const std::filesystem::path& reported,
                 const std::function<void(const ShardRecord&)>& visit);

}  // namespace soup
