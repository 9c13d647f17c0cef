// What one trainer may see.
#include "trainer/training_images.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace soup {

void TrainingImages::add(std::shared_ptr<const ShardFile> shard, std::vector<std::uint64_t> images) {
  require_one_size(*shard);
  if (!shards_.empty() &&
      (shard->height() != height() || shard->width() != width() || shard->channels() != channels())) {
    throw DataError(shard->path(),
                    fmt::format("images are {} x {} x {} here and {} x {} x {} in {}", shard->height(), shard->width(),
                                shard->channels(), height(), width(), channels(), shards_.front()->path().string()),
                    "import both shards at the same resolution");
  }
  const auto number = static_cast<std::uint32_t>(shards_.size());
  for (const std::uint64_t image : images) {
    SOUP_REQUIRE(image < shard->size(), "training image past the end of its shard");
    places_.push_back({number, static_cast<std::uint32_t>(image)});
  }
  shards_.push_back(std::move(shard));
}

int TrainingImages::height() const {
  return shards_.front()->height();
}

int TrainingImages::width() const {
  return shards_.front()->width();
}

int TrainingImages::channels() const {
  return shards_.front()->channels();
}

std::span<const std::uint8_t> TrainingImages::pixels(std::uint64_t index) const {
  const Place place = places_.at(index);
  return shards_[place.shard]->pixels(place.image);
}

std::string_view TrainingImages::caption(std::uint64_t index) const {
  const Place place = places_.at(index);
  return shards_[place.shard]->caption(place.image);
}

std::string_view TrainingImages::style(std::uint64_t index) const {
  const Place place = places_.at(index);
  return shards_[place.shard]->style(place.image);
}

}  // namespace soup
