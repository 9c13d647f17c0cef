// The whole file of a shard from its parts, in constant memory: HDF5 lays it out, then every byte is copied to its
// place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "core/file_descriptor.hpp"
#include "data/shard_content.hpp"
#include "data/shard_record.hpp"

namespace soup {

// Bytes of an open file, which must outlive the assembly.
struct BlockSource {
  const FileDescriptor* file = nullptr;
  std::uint64_t offset = 0;
};

struct ShardContent {
  ShardOrigin origin;
  int channels = 3;
  std::vector<Bucket> buckets;
  std::vector<BlockSource> pixels;  // one per bucket: rows top to bottom, image after image
  // Calls its argument with the record of every image, in order; itself called twice.
  std::function<void(const std::function<void(const ShardRecord&)>&)> each_record;

  std::optional<MomentsFormat> moments_format;
  BlockSource moments;  // of all images, in order
  std::optional<TextStatesFormat> text_format;
  BlockSource text_states;  // texts x tokens x width
  BlockSource text_index;   // a TextIndex per image
};

// Writes `partial`, sealed and flushed; errors name `reported`. Throws DataError, and Interrupted after a stop signal.
void assemble_shard(const std::filesystem::path& partial, const std::filesystem::path& reported,
                    const ShardContent& content);

}  // namespace soup
