// What an evaluation asks for: prompts from held-out images, the real images to compare with, and those the denoising
// loss is taken on; all drawn from the shards by the seed alone. Torch-free.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.hpp"
#include "data/image.hpp"
#include "data/shard_file.hpp"
#include "data/split.hpp"

namespace soup {

// One image of one of several shards.
struct ImagePlace {
  std::size_t shard = 0;
  std::uint64_t image = 0;

  auto operator<=>(const ImagePlace&) const = default;
};

struct Prompt {
  std::string text;         // what the models are given
  std::string caption;      // without style words
  std::string style;        // of the image it was taken from; empty where the source has none
  std::string context;      // first word of the caption
  bool with_style = false;  // the text has the style words
  ImagePlace origin;        // the real image
};

// First word of a caption, "" of an empty one.
[[nodiscard]] std::string_view caption_context(std::string_view caption);
// A shard's image as a value.
[[nodiscard]] Image shard_image(const ShardFile& shard, std::uint64_t index);

// At most `count` prompts with different texts and different origins: shards in turn, within a shard contexts in turn,
// images by the stream "prompts"; every second round of the shards with style words (where there is a style), so both
// kinds are spread over all shards alike. Fewer where the held-out images do not suffice; throws DataError when there
// is none.
std::vector<Prompt> select_prompts(std::span<const ShardFile> shards, const HeldOut& held_out, std::uint64_t count,
                                   SeedTree seeds);

// Held-out images that no prompt was taken from: the real distribution that generated images are compared with. Spread
// over shards and contexts as prompts are, or the distances would favour a model of the largest shard's style: every
// shard gives as many as the smallest has left (but up to `least_per_shard` where that is less), contexts in turn, by
// the stream "reference".
inline constexpr std::size_t least_per_shard = 16;
std::vector<ImagePlace> reference_images(std::span<const ShardFile> shards, const HeldOut& held_out,
                                         std::span<const Prompt> prompts, SeedTree seeds);

// At most `count` held-out images, shards in turn, by the stream "denoising_images".
std::vector<ImagePlace> denoising_images(std::span<const ShardFile> shards, const HeldOut& held_out,
                                         std::uint64_t count, SeedTree seeds);

}  // namespace soup
