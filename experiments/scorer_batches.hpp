// What the scorer is trained on: the images of all shards that are not held out, and batches of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/batches.hpp"
#include "data/shard_file.hpp"
#include "experiments/prompts.hpp"
#include "experiments/scorer_config.hpp"
#include "trainer/tokenizer.hpp"

namespace soup {

// Every image the scorer may learn from, and the classes they have.
struct ScorerData {
  int side = 0;                                     // of the squares that the scorer is shown (square_image.hpp)
  std::vector<ImagePlace> places;                   // grouped by style
  std::vector<std::size_t> style_ends;              // place behind the last of each style, those without one included
  std::vector<std::string> captions;                // plain and styled, for the tokenizer
  std::vector<std::string> styles;                  // sorted
  nlohmann::json roots = nlohmann::json::object();  // per shard: Merkle root, digest of the images trained on
};

// Throws DataError: no shard, images that are not RGB.
ScorerData gather_scorer_data(const ScorerConfig& config, std::span<const ShardFile> shards);

// How often each style (as in style_ends) is drawn: proportional to its images to the power 1 - balance; sums to 1.
std::vector<double> style_shares(const ScorerData& data, double balance);

struct ScorerBatch {
  at::Tensor images;            // float [B, 3, R, R] in [-1, 1]
  at::Tensor ids;               // [B, L]
  at::Tensor contexts, styles;  // [B], -1 where unknown
  at::Tensor also_right;        // bool [B, B]: caption j fits image i too, i != j
};

// A batch is a function of the seed and the image counter. The arguments must outlive the object.
class ScorerBatches {
 public:
  ScorerBatches(const ScorerConfig& config, std::span<const ShardFile> shards, const ScorerData& data,
                const Tokenizer& tokenizer, SeedTree seeds)
      : config_(config),
        shards_(shards),
        data_(data),
        tokenizer_(tokenizer),
        seeds_(seeds),
        style_shares_(style_shares(data, config.style_balance)) {}

  // Images first_counter ... first_counter + batch - 1.
  ScorerBatch make(std::uint64_t first_counter);

 private:
  std::string_view caption(const ImagePlace& place) const { return shards_[place.shard].caption(place.image); }
  std::string_view style(const ImagePlace& place) const { return shards_[place.shard].style(place.image); }

  // With replacement: a style by its share, then any of its images.
  [[nodiscard]] const ImagePlace& draw(std::uint64_t counter) const;
  void copy_shifted(std::span<const std::uint8_t> pixels, std::uint64_t counter, const at::Tensor& out) const;

  const ScorerConfig& config_;
  std::span<const ShardFile> shards_;
  const ScorerData& data_;
  const Tokenizer& tokenizer_;
  SeedTree seeds_;
  std::vector<double> style_shares_;
};

}  // namespace soup
