// One number an item for any model, on held-out data.
#include "experiments/model_score.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/error.hpp"
#include "data/caption.hpp"
#include "experiments/prompts.hpp"
#include "experiments/scorer.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/pixels.hpp"
#include "trainer/sampler.hpp"

namespace soup {

namespace {

template <typename T>
std::vector<T> chosen(const std::vector<T>& items, std::size_t shards, Half half) {
  std::vector<T> result;
  for (const std::size_t item : items_of_half(items.size(), shards, half)) {
    result.push_back(items[item]);
  }
  if (result.size() < 2) {
    throw DataError("the held-out data",
                    fmt::format("has {} items in this half, but an error needs two", result.size()),
                    "raise evaluation.prompts, evaluation.denoising_images or data.held_out");
  }
  return result;
}

std::vector<double> losses(const DiffusionModel& model, std::span<const ShardFile> shards,
                           const std::vector<ImagePlace>& places, SeedTree seeds, std::int64_t clip_skip) {
  std::vector<Image> images;
  std::vector<std::string> captions;
  for (const ImagePlace& place : places) {
    images.push_back(shard_image(shards[place.shard], place.image));
    captions.push_back(
        styled_caption(shards[place.shard].caption(place.image), shards[place.shard].style(place.image)));
  }
  return denoising_losses(model, to_tensor(images), captions, seeds, clip_skip);
}

std::vector<double> alignments(const DiffusionModel& model, const Scorer& scorer, const std::vector<Prompt>& prompts,
                               std::int64_t resolution, const SampleOptions& options, SeedTree seeds) {
  std::vector<std::string> texts;
  for (const Prompt& prompt : prompts) {
    texts.push_back(prompt.text);
  }
  const InitialNoise noise =
      sample_noise(model, seeds, 0, static_cast<std::int64_t>(texts.size()), resolution, resolution);
  const at::Tensor images = scorer.score(sample_images(model, texts, noise, options)).embeddings;
  const at::Tensor similarities = images.mul(scorer.embed_texts(texts)).sum(1).to(at::kDouble).contiguous();
  const auto* begin = similarities.const_data_ptr<double>();
  return {begin, begin + similarities.numel()};
}

}  // namespace

std::vector<std::size_t> items_of_half(std::size_t items, std::size_t shards, Half half) {
  std::vector<std::size_t> result;
  for (std::size_t item = 0; item < items; ++item) {
    const bool is_second = item / (2 * shards) % 2 == 1;
    if (half == Half::all || (half == Half::second) == is_second) {
      result.push_back(item);
    }
  }
  return result;
}

std::vector<double> score_model(const EvaluationConfig& config, std::span<const ShardFile> shards,
                                const HeldOut& held_out, SeedTree seeds, const std::filesystem::path& model,
                                const ScoreRequest& request) {
  if (request.measure == "denoising_loss") {
    const auto count = static_cast<std::uint64_t>(config.denoising_images);
    return losses(load_model(model, request.weights), shards,
                  chosen(denoising_images(shards, held_out, count, seeds), shards.size(), request.half), seeds,
                  config.sampling.clip_skip);
  }
  if (request.measure != "alignment") {
    throw ConfigError(fmt::format("measure \"{}\" is neither denoising_loss nor alignment", request.measure));
  }
  if (config.scorer.empty()) {
    throw ConfigError("alignment needs an image-text scorer, but evaluation.scorer is empty");
  }
  const std::vector<Prompt> prompts = chosen(
      select_prompts(shards, held_out, static_cast<std::uint64_t>(config.prompts), seeds), shards.size(), request.half);
  return alignments(load_model(model, request.weights), Scorer::load(config.scorer), prompts, shards.front().height(),
                    config.sampling, seeds);
}

}  // namespace soup
