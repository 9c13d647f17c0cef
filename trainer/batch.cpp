// One training batch from the named random streams.
#include "trainer/batch.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "data/caption.hpp"
#include "trainer/pixels.hpp"

namespace soup {

BatchMaker::BatchMaker(std::shared_ptr<const TrainingImages> images, const TrainConfig& config, SeedTree seeds,
                       std::string scope, std::shared_ptr<const Autoencoder> autoencoder, std::int64_t timesteps)
    : images_(std::move(images)),
      config_(config),
      seeds_(seeds),
      scope_(std::move(scope)),
      autoencoder_(std::move(autoencoder)),
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

at::Tensor BatchMaker::normal(const std::string& purpose, std::uint64_t first_counter, at::IntArrayRef shape) const {
  at::Tensor values = at::empty(shape, at::kFloat);
  const auto each = static_cast<std::size_t>(values.numel() / std::max<std::int64_t>(1, shape[0]));
  float* row = values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < shape[0]; ++i, row += each) {
    seeds_.stream(purpose, scope_, first_counter + static_cast<std::uint64_t>(i)).fill_normal({row, each});
  }
  return values;
}

Batch BatchMaker::make(std::uint64_t first_counter, std::int64_t count) {
  Batch batch;
  batch.timesteps = at::empty({count}, at::kLong);
  std::vector<std::span<const std::uint8_t>> pixels;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t counter = first_counter + static_cast<std::uint64_t>(i);
    const std::uint64_t index = order_.at(counter);
    pixels.push_back(images_->pixels(index));
    batch.captions.push_back(caption_of(counter, index));
    batch.timesteps.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(
        seeds_.stream("timestep", scope_, counter).below(static_cast<std::uint64_t>(timesteps_)));
  }
  batch.images = pixels_to_tensor(pixels, images_->height(), images_->width(), images_->channels());
  const std::vector<std::int64_t> shape = {count, autoencoder_->latent_channels(images_->channels()),
                                           images_->height() / autoencoder_->factor(),
                                           images_->width() / autoencoder_->factor()};
  if (autoencoder_->samples()) {
    batch.latent_noise = normal("latent", first_counter, shape);
  }
  batch.noise.added = normal("noise", first_counter, shape);
  if (config_.noise_offset > 0.0) {
    batch.noise.added.add_(normal("noise_offset", first_counter, {count, shape[1], 1, 1}), config_.noise_offset);
  }
  if (config_.input_perturbation > 0.0) {
    batch.noise.seen =
        at::add(batch.noise.added, normal("perturbation", first_counter, shape), config_.input_perturbation);
  }
  return batch;
}

}  // namespace soup
