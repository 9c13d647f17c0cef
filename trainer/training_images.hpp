// What one trainer may see: the training sets of one or more shard files as one numbered list. No torch.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "data/shard_file.hpp"
#include "data/split.hpp"

namespace soup {

class TrainingImages {
 public:
  // Adds a shard's training set; all shards must be of one size and agree in it and in
  // channels (DataError otherwise).
  void add(std::shared_ptr<const ShardFile> shard, std::vector<std::uint64_t> images);

  [[nodiscard]] std::uint64_t size() const { return places_.size(); }
  [[nodiscard]] int height() const;
  [[nodiscard]] int width() const;
  [[nodiscard]] int channels() const;
  // height * width * channels bytes, channels interleaved.
  [[nodiscard]] std::span<const std::uint8_t> pixels(std::uint64_t index) const;
  [[nodiscard]] std::string_view caption(std::uint64_t index) const;
  [[nodiscard]] std::string_view style(std::uint64_t index) const;

 private:
  struct Place {
    std::uint32_t shard;
    std::uint32_t image;
  };
  std::vector<std::shared_ptr<const ShardFile>> shards_;
  std::vector<Place> places_;
};

}  // namespace soup
