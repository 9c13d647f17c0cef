// One training batch from the named random streams.
#include "trainer/batch.hpp"

#include <ATen/ATen.h>

#include "data/caption.hpp"
#include "trainer/pixels.hpp"

namespace soup {

BatchMaker::BatchMaker(std::shared_ptr<const TrainingImages> images, const TrainConfig& config, SeedTree seeds,
                       std::string scope, std::int64_t timesteps)
    : images_(std::move(images)),
      config_(config),
      seeds_(seeds),
      scope_(std::move(scope)),
      timesteps_(timesteps),
      order_(seeds, scope_, images_->size()) {}

std::string BatchMaker::caption_of(std::uint64_t counter, std::uint64_t index) const {
  RandomStream stream = seeds_.stream("caption", scope_, counter);
  if (stream.uniform() < config_.caption_dropout) {
    return {};
  }
  const bool plain = stream.uniform() < config_.style_dropout;
  return styled_caption(images_->caption(index), plain ? std::string_view() : images_->style(index));
}

Batch BatchMaker::make(std::uint64_t first_counter, std::int64_t count) {
  const std::int64_t values = static_cast<std::int64_t>(images_->height()) * images_->width() * images_->channels();
  Batch batch;
  batch.noise = at::empty({count, values}, at::kFloat);
  batch.timesteps = at::empty({count}, at::kLong);
  std::vector<std::span<const std::uint8_t>> pixels;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t counter = first_counter + static_cast<std::uint64_t>(i);
    const std::uint64_t index = order_.at(counter);
    pixels.push_back(images_->pixels(index));
    batch.captions.push_back(caption_of(counter, index));
    seeds_.stream("noise", scope_, counter)
        .fill_normal({batch.noise.data_ptr<float>() + i * values, static_cast<std::size_t>(values)});
    batch.timesteps.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(
        seeds_.stream("timestep", scope_, counter).below(static_cast<std::uint64_t>(timesteps_)));
  }
  batch.images = pixels_to_tensor(pixels, images_->height(), images_->width(), images_->channels());
  return batch;
}

}  // namespace soup
