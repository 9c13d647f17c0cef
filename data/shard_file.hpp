// An open shard file: images, captions, digests and origin of one shard, all mapped. Layout and version:
// data/README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.hpp"
#include "data/image.hpp"
#include "data/shard_content.hpp"
#include "data/shard_record.hpp"
#include "data/shard_seal.hpp"

namespace soup {

// Everything is mapped, not read: a shard larger than memory works, and opening one takes no longer than hashing what
// is not pixels. Texts are good as long as the file is open. Throws DataError: not a shard file, truncated, other
// version, missing or mis-shaped datasets, lengths that disagree.
class ShardFile {
 public:
  explicit ShardFile(const std::filesystem::path& path);
  ~ShardFile();
  ShardFile(ShardFile&&) noexcept;
  ShardFile& operator=(ShardFile&&) noexcept;

  [[nodiscard]] const std::filesystem::path& path() const;
  [[nodiscard]] std::size_t size() const;  // images
  // By height, then width; together all images in order.
  [[nodiscard]] std::span<const Bucket> buckets() const;
  [[nodiscard]] const Bucket& bucket_of(std::size_t index) const;
  [[nodiscard]] bool one_size() const { return buckets().size() == 1; }
  // Of all images: only where one_size() (InvariantError).
  [[nodiscard]] int height() const;
  [[nodiscard]] int width() const;
  [[nodiscard]] int height(std::size_t index) const { return bucket_of(index).height; }
  [[nodiscard]] int width(std::size_t index) const { return bucket_of(index).width; }
  [[nodiscard]] int channels() const;
  [[nodiscard]] std::span<const std::uint8_t> pixels(std::size_t index) const;  // height * width * channels bytes
  [[nodiscard]] std::string_view caption(std::size_t index) const;
  [[nodiscard]] std::string_view key(std::size_t index) const;
  [[nodiscard]] std::string_view style(std::size_t index) const;
  [[nodiscard]] std::string_view source(std::size_t index) const;
  [[nodiscard]] Digest digest(std::size_t index) const;
  [[nodiscard]] Digest pixel_digest(std::size_t index) const;  // SHA-256 of the pixels alone (exact duplicates)
  [[nodiscard]] std::uint64_t perceptual_hash(std::size_t index) const;  // see data/duplicates.hpp
  [[nodiscard]] ShardRecord record(std::size_t index) const;
  [[nodiscard]] const Digest& root() const;  // Merkle root over digest(i), as stored
  [[nodiscard]] const ShardOrigin& origin() const;

  // Where in the file the pixels of each bucket lie, for who copies them.
  [[nodiscard]] std::span<const ByteRange> pixel_blocks() const;

  // What encoders made of the images and texts, where the shard holds it (data/shard_latents.hpp writes it).
  [[nodiscard]] const std::optional<MomentsFormat>& moments_format() const;
  // channels x height/factor x width/factor numbers of one image.
  [[nodiscard]] std::span<const std::byte> moments(std::size_t index) const;
  [[nodiscard]] const std::optional<TextStatesFormat>& text_states_format() const;
  [[nodiscard]] TextIndex text_index(std::size_t index) const;
  // tokens x width numbers of one text.
  [[nodiscard]] std::span<const std::byte> text_states(std::uint64_t text) const;

  // Recomputes every digest and the root; throws DataError naming the first image or block that disagrees.
  void verify() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soup
