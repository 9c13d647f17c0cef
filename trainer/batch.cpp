// One training batch from the named random streams.
#include "trainer/batch.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.hpp"
#include "data/caption.hpp"
#include "trainer/pixels.hpp"

namespace soup {
namespace {

std::vector<std::uint64_t> bucket_sizes(const TrainingImages& images) {
  std::vector<std::uint64_t> sizes;
  for (const TrainingBucket& bucket : images.buckets()) {
    sizes.push_back(bucket.count);
  }
  return sizes;
}

// Numbers as a shard keeps them -> float [N, a, b, ...], each row of `shape`.
at::Tensor stacked(const std::vector<std::span<const std::byte>>& rows, FloatType type,
                   std::vector<std::int64_t> shape) {
  shape.insert(shape.begin(), static_cast<std::int64_t>(rows.size()));
  at::Tensor values = at::empty(shape, type == FloatType::f16 ? at::kHalf : at::kFloat);
  auto* out = static_cast<std::byte*>(values.mutable_data_ptr());
  for (const std::span<const std::byte> row : rows) {
    SOUP_REQUIRE(row.size() * rows.size() == values.nbytes(), "encoded rows of another size in a batch");
    std::memcpy(out, row.data(), row.size());
    out += row.size();
  }
  return values.to(at::kFloat);
}

}  // namespace

void Batch::pin() {
  for (at::Tensor* tensor :
       {&images, &moments, &latent_noise, &noise.added, &noise.seen, &timesteps, &token_ids, &text_states}) {
    if (tensor->defined()) {
      *tensor = tensor->pin_memory();
    }
  }
}

BatchMaker::BatchMaker(std::shared_ptr<const TrainingImages> images, const TrainConfig& config, SeedTree seeds,
                       std::string scope, const DiffusionModel& model, CachedInputs cached)
    : images_(std::move(images)),
      config_(config),
      seeds_(seeds),
      scope_(std::move(scope)),
      model_(model),
      cached_(cached),
      order_(seeds, scope_, bucket_sizes(*images_), static_cast<std::uint64_t>(config.batch)) {}

TrainingImages::Text BatchMaker::text_of(std::uint64_t counter) const {
  RandomStream stream = seeds_.stream("caption", scope_, counter);
  if (stream.uniform() < config_.caption_dropout) {
    return TrainingImages::Text::none;
  }
  return stream.uniform() < config_.style_dropout ? TrainingImages::Text::plain : TrainingImages::Text::styled;
}

std::string BatchMaker::caption_of(std::uint64_t index, TrainingImages::Text text) const {
  if (text == TrainingImages::Text::none) {
    return {};
  }
  return styled_caption(images_->caption(index),
                        text == TrainingImages::Text::plain ? std::string_view() : images_->style(index));
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
  std::vector<std::span<const std::byte>> moments;
  std::vector<std::span<const std::byte>> states;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t counter = first_counter + static_cast<std::uint64_t>(i);
    const std::uint64_t index = order_.at(counter);
    if (cached_.moments) {
      moments.push_back(images_->moments(index));
    } else {
      pixels.push_back(images_->pixels(index));
    }
    const TrainingImages::Text text = text_of(counter);
    batch.captions.push_back(caption_of(index, text));
    if (cached_.text_states) {
      states.push_back(images_->text_states(index, text));
    }
    batch.timesteps.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(
        seeds_.stream("timestep", scope_, counter).below(static_cast<std::uint64_t>(model_.schedule->steps())));
  }
  const std::uint64_t any = order_.at(first_counter);
  const int height = images_->height(any);
  const int width = images_->width(any);
  const Autoencoder& autoencoder = *model_.autoencoder;
  const std::vector<std::int64_t> shape = {count, autoencoder.latent_channels(images_->channels()),
                                           height / autoencoder.factor(), width / autoencoder.factor()};
  if (cached_.moments) {
    const MomentsFormat& format = *images_->moments_format();
    batch.moments = stacked(moments, format.type, {format.channels, shape[2], shape[3]});
  } else {
    batch.images = pixels_to_tensor(pixels, height, width, images_->channels());
  }
  if (cached_.text_states) {
    const TextStatesFormat& format = *images_->text_states_format();
    batch.text_states = stacked(states, format.type, {format.tokens, format.width});
  } else {
    batch.token_ids = model_.tokenize(batch.captions, &batch.truncated);
  }
  if (autoencoder.samples()) {
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
