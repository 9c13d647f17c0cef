// Streams images into a new shard file. Layout and version: data/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "core/digest.hpp"
#include "data/image.hpp"
#include "data/shard_content.hpp"
#include "data/shard_record.hpp"

namespace soup {

// One image on its way into a shard.
struct Sample {
  Image image;
  std::string caption = {};  // UTF-8; "devices printer network"
  std::string key = {};      // caption key: what held-out is decided on; equal for the same name in every style
  std::string style = {};    // "oxygen"; empty where the source has none
  std::string source = {};   // where it came from, relative to the source's root
};

// Memory is bounded whatever the number of images: they wait in files in `<path>.partial` until finish() puts them in
// their order. The shard appears under its name when it is whole, and the folder goes.
class ShardWriter {
 public:
  // All images must be height x width x channels. A writer that is not finished leaves nothing.
  ShardWriter(const std::filesystem::path& path, ShardOrigin origin, int height, int width, int channels);
  // RGB images of any sizes. `identity` is the digest of the source and of all options that decide the result: a writer
  // that was not finished goes on from its last save() when it is made again with the same one.
  ShardWriter(const std::filesystem::path& path, ShardOrigin origin, const Digest& identity);
  ~ShardWriter();

  // Whether there was something to go on from, or something else that was cleared away.
  [[nodiscard]] bool resumed() const;
  [[nodiscard]] bool replaced_another() const;
  // What was given to the last save(); null before it.
  [[nodiscard]] const nlohmann::json& progress() const;
  // The folder of what is half-made; the caller may keep files of its own there.
  [[nodiscard]] const std::filesystem::path& folder() const;
  [[nodiscard]] std::uint64_t images() const;

  // Throws DataError: wrong image size, texts not UTF-8 or over 4,096 bytes. `digests` are digests_of() the sample.
  void append(const Sample& sample);
  void append(const Sample& sample, const ImageDigests& digests);
  // Makes the next start go on from here, with this to tell it where in the source that is. Of resumable writers only.
  void save(const nlohmann::json& progress);
  // Writes the file, calling `before_naming` when all of it is there but its name; throws DataError when no sample was
  // appended, and Interrupted after a stop signal.
  void finish(const std::function<void()>& before_naming = {});
  // Ends it without a file, and forgets what was saved.
  void discard();

 private:
  void check(const Sample& sample) const;
  void add(const Sample& sample, const ImageDigests& digests);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Digest of one sample: SHA-256 over the pixel bytes, then caption, key and style as length-prefixed fields.
Digest sample_digest(std::span<const std::uint8_t> pixels, std::string_view caption, std::string_view key,
                     std::string_view style);

}  // namespace soup
