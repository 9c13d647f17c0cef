// Decoding in a pool of forked processes, so that no image can take the importer down: one that crashes the decoder or
// does not end is reported, and its process replaced.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/image.hpp"
#include "data/picture.hpp"
#include "data/shard_record.hpp"

namespace soup {

struct DecodeOptions {
  int size = 32;                               // pixels a side of the result, decoded with load_icon()
  std::optional<PictureOptions> picture = {};  // instead: how load_picture() decodes
  int workers = 2;                             // processes
  double seconds_per_image = 10.0;             // processor time, or five times that by the clock; then it is killed
  std::uint64_t memory_bytes = 1U << 30;       // address space a worker may add to what it inherits
};

// One image to decode, of a file or of bytes.
struct DecodeJob {
  std::string name = {};                           // of the image in messages
  std::filesystem::path path = {};                 // read when there are no bytes
  std::vector<std::byte> bytes = {};               // of pictures
  std::string caption = {}, key = {}, style = {};  // go into the digests of a picture
  std::string error = {};                          // why there is nothing to decode: passed on as the result
};

struct Decoded {
  std::optional<Image> image = {};
  std::string error = {};        // why not; empty, too, for a picture that is too small
  std::string_view format = {};  // of a picture, as load_picture() names it
  ImageSize original = {};       // of a picture, upright
  ImageDigests digests = {};     // of a picture, with the job's texts
};

// Decodes what `next` gives until it gives nothing, and calls consume(index, result) in the same order, both on the
// calling thread, whatever the number of workers; consume returns false to stop. At most 64 MiB of results wait for
// their turn, and a job for each worker. Throws DataError when no worker can be started, and what `next` and consume
// throw. Must be called before this process itself has started libvips, whose threads do not survive a fork
// (InvariantError).
void decode_stream(const std::function<std::optional<DecodeJob>()>& next, const DecodeOptions& options,
                   const std::function<bool(std::size_t index, Decoded result)>& consume);

// The same for files.
void decode_in_order(std::span<const std::filesystem::path> paths, const DecodeOptions& options,
                     const std::function<bool(std::size_t index, Decoded result)>& consume);

}  // namespace soup
