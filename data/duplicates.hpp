// Duplicates across shards, exact and near: what makes "remove the shard" remove less than it says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/shard_file.hpp"

namespace soup {

// 64-bit difference hash: the image in grey at 9 x 8, bit = left pixel darker than right neighbour.
std::uint64_t difference_hash(const Image& image);

struct DuplicatePair {
  std::size_t first_shard = 0;  // the earlier shard keeps the image
  std::size_t first_image = 0;
  std::size_t second_shard = 0;
  std::size_t second_image = 0;
  bool exact = false;
  int distance = 0;  // Hamming distance of the difference hashes
  double rms = 0.0;  // root mean square pixel difference, 0..255
};

struct DuplicateOptions {
  int hash_distance = 3;    // near: at most this many differing bits (<= 3, what four 16-bit bands find completely)
  double rms_limit = 12.0;  // and at most this pixel difference
};

// Pairs between different shards (never inside one), each image of a later shard listed once with its nearest earlier
// match, exact first.
std::vector<DuplicatePair> cross_shard_duplicates(std::span<const ShardFile> shards, const DuplicateOptions& options);

// Each image of `shard` that is also in `other`, with its nearest match there: pairs of first_shard 0 (`other`) and
// second_shard 1 (`shard`), by image. Exact: the same pixels. Near matches only with `near`. Throws DataError for
// squares of different sizes.
std::vector<DuplicatePair> images_also_in(const ShardFile& shard, const ShardFile& other,
                                          const std::optional<DuplicateOptions>& near);

}  // namespace soup
