// What one trainer may see.
#include "trainer/training_images.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace soup {
namespace {

// The block that every shard holds in one format, or nullptr.
template <class Format>
const Format* common(const std::vector<std::shared_ptr<const ShardFile>>& shards,
                     const std::optional<Format>& (ShardFile::*format_of)() const) {
  const Format* first = nullptr;
  for (const auto& shard : shards) {
    const std::optional<Format>& format = ((*shard).*format_of)();
    if (!format) {
      return nullptr;
    }
    first = first == nullptr ? &*format : first;
    // How many different texts a shard has is its own.
    if (format->encoder != first->encoder || format->type != first->type) {
      return nullptr;
    }
  }
  return first;
}

}  // namespace

void TrainingImages::add(std::shared_ptr<const ShardFile> shard, const std::vector<std::uint64_t>& images) {
  if (!shards_.empty() && shard->channels() != channels()) {
    throw DataError(shard->path(), fmt::format("images have {} channels here and {} in {}", shard->channels(),
                                               channels(), shards_.front()->path().string()));
  }
  const auto number = static_cast<std::uint32_t>(shards_.size());
  shards_.push_back(std::move(shard));
  for (const std::uint64_t image : images) {
    SOUP_REQUIRE(image < shards_.back()->size(), "training image past the end of its shard");
    places_.push_back({number, static_cast<std::uint32_t>(image)});
  }
  const auto size_of = [this](const Place& place) {
    const ShardFile& file = *shards_[place.shard];
    return std::pair(file.height(place.image), file.width(place.image));
  };
  std::ranges::stable_sort(places_, {}, size_of);
  buckets_.clear();
  for (std::uint64_t i = 0; i < places_.size(); ++i) {
    const auto [height, width] = size_of(places_[i]);
    if (buckets_.empty() || buckets_.back().height != height || buckets_.back().width != width) {
      buckets_.push_back({height, width, i, 0});
    }
    ++buckets_.back().count;
  }
}

int TrainingImages::channels() const {
  return shards_.front()->channels();
}

int TrainingImages::height(std::uint64_t index) const {
  return shard_of(index).height(places_[index].image);
}

int TrainingImages::width(std::uint64_t index) const {
  return shard_of(index).width(places_[index].image);
}

std::span<const std::uint8_t> TrainingImages::pixels(std::uint64_t index) const {
  const ShardFile& shard = shard_of(index);
  const std::uint32_t image = places_[index].image;
  const std::span<const std::uint8_t> pixels = shard.pixels(image);
  if (const Digest found = sha256(std::as_bytes(pixels)); found != shard.pixel_digest(image)) {
    throw DataError(
        shard.path(),
        fmt::format("image {} ({}) has pixels of digest {}, but was imported with {}", image, shard.source(image),
                    found.brief(), shard.pixel_digest(image).brief()),
        "the file was altered, or the disk fails: `soup verify` lists what changed; import the shard again");
  }
  return pixels;
}

std::string_view TrainingImages::caption(std::uint64_t index) const {
  return shard_of(index).caption(places_[index].image);
}

std::string_view TrainingImages::style(std::uint64_t index) const {
  return shard_of(index).style(places_[index].image);
}

const MomentsFormat* TrainingImages::moments_format() const {
  return common(shards_, &ShardFile::moments_format);
}

const TextStatesFormat* TrainingImages::text_states_format() const {
  return common(shards_, &ShardFile::text_states_format);
}

std::span<const std::byte> TrainingImages::moments(std::uint64_t index) const {
  return shard_of(index).moments(places_[index].image);
}

std::span<const std::byte> TrainingImages::text_states(std::uint64_t index, Text which) const {
  const ShardFile& shard = shard_of(index);
  const TextIndex texts = shard.text_index(places_[index].image);
  // Text 0 of every shard is the empty one (trainer/shard_encoder.hpp).
  return shard.text_states(which == Text::none ? 0 : (which == Text::plain ? texts.plain : texts.styled));
}

}  // namespace soup
