// What one trainer may see: the training sets of one or more shard files as one numbered list. No torch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/shard_file.hpp"
#include "data/split.hpp"

namespace soup {

// Images of one size, from all shards.
struct TrainingBucket {
  int height = 0;
  int width = 0;
  std::uint64_t first = 0;  // number of its first image
  std::uint64_t count = 0;
};

class TrainingImages {
 public:
  // Adds a shard's training set; all shards must agree in channels (DataError otherwise). Images are numbered by size,
  // then shard by shard.
  void add(std::shared_ptr<const ShardFile> shard, const std::vector<std::uint64_t>& images);

  [[nodiscard]] std::uint64_t size() const { return places_.size(); }
  // By height, then width.
  [[nodiscard]] const std::vector<TrainingBucket>& buckets() const { return buckets_; }
  [[nodiscard]] int channels() const;
  [[nodiscard]] int height(std::uint64_t index) const;
  [[nodiscard]] int width(std::uint64_t index) const;
  // height * width * channels bytes, channels interleaved. Checked each time, which costs little beside training on
  // them: throws DataError, naming the image, where they are not those that were imported.
  [[nodiscard]] std::span<const std::uint8_t> pixels(std::uint64_t index) const;
  [[nodiscard]] std::string_view caption(std::uint64_t index) const;
  [[nodiscard]] std::string_view style(std::uint64_t index) const;

  // What `soup import --latents` made of them, where every shard holds it; else nullptr.
  [[nodiscard]] const MomentsFormat* moments_format() const;
  [[nodiscard]] const TextStatesFormat* text_states_format() const;
  [[nodiscard]] std::span<const std::byte> moments(std::uint64_t index) const;
  // Of the caption with or without its style word, or of no text at all.
  enum class Text { none, plain, styled };
  [[nodiscard]] std::span<const std::byte> text_states(std::uint64_t index, Text which) const;

 private:
  struct Place {
    std::uint32_t shard;
    std::uint32_t image;
  };
  [[nodiscard]] const ShardFile& shard_of(std::uint64_t index) const { return *shards_[places_.at(index).shard]; }

  std::vector<std::shared_ptr<const ShardFile>> shards_;
  std::vector<Place> places_;
  std::vector<TrainingBucket> buckets_;
};

}  // namespace soup
