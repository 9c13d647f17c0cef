// What encoders made of a shard's images and texts, added to a copy of the shard.
#pragma once

#include <filesystem>
#include <optional>

#include "data/shard_content.hpp"
#include "data/shard_file.hpp"

namespace soup {

// Files of bare numbers, little endian, in the shard's order of images. They are read, not kept: whoever made them
// removes them.
struct EncodedFiles {
  std::optional<MomentsFormat> moments_format;
  std::filesystem::path moments;  // per image channels x height/factor x width/factor numbers
  std::optional<TextStatesFormat> text_format;
  std::filesystem::path text_states;  // texts x tokens x width numbers
  std::filesystem::path text_index;   // per image two 32-bit numbers: TextIndex
};

// Writes `output`, whole or not at all: all of `shard` but encoded blocks that it has, and these. `output` may be the
// shard's own path. Constant memory. Throws DataError (a file of another length than its format wants, a text index
// past the end, sides that the factor does not divide) and Interrupted after a stop signal.
void add_encoded(const ShardFile& shard, const EncodedFiles& files, const std::filesystem::path& output);

}  // namespace soup
