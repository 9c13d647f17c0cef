// Decoding in a pool of forked processes, so that no image can take the importer down: one that crashes the decoder or
// does not end is reported, and its process replaced.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "data/image.hpp"

namespace soup {

struct DecodeOptions {
  int size = 32;                          // pixels a side of the result
  int workers = 2;                        // processes
  double seconds_per_image = 10.0;        // processor time, or five times that by the clock; then it is killed
  std::uint64_t memory_bytes = 1U << 30;  // address space a worker may add to what it inherits
};

// One of the two is set.
struct Decoded {
  std::optional<Image> image;
  std::string error;
};

// Decodes every path with load_icon() and calls consume(index, result) in the order of `paths`, on the calling thread,
// whatever the number of workers; consume returns false to stop. At most 64 MiB of results wait for their turn.
// Throws DataError when no worker can be started, and what consume throws. Must be called before this process itself
// has called load_icon(): libvips's threads do not survive a fork (InvariantError).
void decode_in_order(std::span<const std::filesystem::path> paths, const DecodeOptions& options,
                     const std::function<bool(std::size_t index, Decoded result)>& consume);

}  // namespace soup
