#include "experiments/evaluation.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "core/text.hpp"
#include "data/caption.hpp"
#include "experiments/frechet.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/pixels.hpp"
#include "trainer/sampler.hpp"

namespace soup {

namespace {

constexpr int grid_zoom = 4;  // pixels of the sample picture per pixel of the image

std::string name_of(WeightSet weights) {
  return weights == WeightSet::raw ? "raw" : "ema";
}

// Samples of the output ensemble. Each ingredient reads the prompt with its own text encoder: their states travel side
// by side through the sampler.
std::vector<Image> ensemble_images(const std::vector<DiffusionModel>& models, const std::vector<std::string>& prompts,
                                   const InitialNoise& noise, const SampleOptions& options) {
  const c10::InferenceMode inference;
  const auto encode = [&models, &options](const std::vector<std::string>& texts) {
    std::vector<at::Tensor> states;
    for (const DiffusionModel& model : models) {
      states.push_back(model.encode_text(texts, nullptr, options.clip_skip));
    }
    return at::cat(states, -1);
  };
  const Denoiser mean_prediction = [&models](const at::Tensor& latents, double timestep, const at::Tensor& text) {
    const std::vector<at::Tensor> states = text.chunk(static_cast<std::int64_t>(models.size()), -1);
    const at::Tensor timesteps = at::full({latents.size(0)}, timestep, at::kFloat);
    at::Tensor sum = at::zeros_like(latents);
    for (std::size_t i = 0; i < models.size(); ++i) {
      sum.add_(models[i].unet->forward(latents, timesteps, states[i].contiguous()));
    }
    return sum.div_(static_cast<double>(models.size()));
  };
  return decode_images(models.front(), sample_latents(mean_prediction, *models.front().schedule, noise, encode(prompts),
                                                      encode({""}), options));
}

std::string likeliest(const at::Tensor& probabilities, const std::vector<std::string>& classes) {
  return classes.empty() ? "" : classes[static_cast<std::size_t>(probabilities.argmax().item<std::int64_t>())];
}

}  // namespace

Evaluation::Evaluation(const EvaluationConfig& config, std::span<const ShardFile> shards, const HeldOut& held_out,
                       SeedTree seeds, std::filesystem::path folder, std::string key)
    : config_(config), shards_(shards), seeds_(seeds), folder_(std::move(folder)), key_(std::move(key)) {
  for (const ShardFile& shard : shards) {
    require_one_size(shard);
    if (shard.height() != shards[0].height() || shard.width() != shard.height() || shard.channels() != 3) {
      throw DataError(shard.path(), "holds images of " + std::to_string(shard.height()) + " x " +
                                        std::to_string(shard.width()) + " x " + std::to_string(shard.channels()) +
                                        "; evaluation wants square RGB images of one size (" +
                                        std::to_string(shards[0].height()) + " in the first shard)");
    }
  }
  prompts_ = select_prompts(shards, held_out, static_cast<std::uint64_t>(config.prompts), seeds);
  denoising_images_ = denoising_images(shards, held_out, static_cast<std::uint64_t>(config.denoising_images), seeds);
  std::filesystem::create_directories(folder_);
  if (config.scorer.empty()) {
    return;
  }
  scorer_ = Scorer::load(config.scorer);
  write_file_atomically(folder_ / "scorer.json", read_file(config.scorer / "recipe.json"));
  std::vector<std::string> texts;
  for (const Prompt& prompt : prompts_) {
    texts.push_back(prompt.text);
  }
  prompt_embeddings_ = scorer_->embed_texts(texts);
  std::vector<Image> real;
  for (const ImagePlace& place : reference_images(shards, held_out, prompts_, seeds)) {
    real.push_back(shard_image(shards[place.shard], place.image));
  }
  if (real.size() >= 2) {
    reference_ = std::make_shared<const Features>(to_features(scorer_->score(real).features));
    write_features(features_path(folder_, "reference"), *reference_);
  }
}

bool Evaluation::is_complete(const std::string& model, const std::string& weights) const {
  const std::filesystem::path path = folder_ / (record_stem(model, weights) + ".jsonl");
  return std::filesystem::exists(path) && read_record(path).key == key_;
}

void Evaluation::evaluate_real(Log& log) const {
  if (is_complete("real", "")) {
    return;
  }
  std::vector<Image> images;
  for (const Prompt& prompt : prompts_) {
    images.push_back(shard_image(shards_[prompt.origin.shard], prompt.origin.image));
  }
  ModelRecord record;
  record.model = "real";
  write(images, record);
  log.info("evaluated the prompts' own real images");
}

void Evaluation::evaluate(const EvaluatedModel& model, Log& log) const {
  SOUP_REQUIRE(!model.folders.empty(), "a model without a folder: " + model.name);
  if (is_complete(model.name, name_of(model.weights))) {
    return;
  }
  if (model.weights == WeightSet::ema && std::ranges::none_of(model.folders, has_ema_weights) &&
      is_complete(model.name, name_of(WeightSet::raw))) {
    adopt_raw_record(model.name);
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  std::vector<DiffusionModel> models;
  for (const std::filesystem::path& folder : model.folders) {
    models.push_back(load_model(folder, model.weights));
  }
  std::vector<std::string> texts;
  for (const Prompt& prompt : prompts_) {
    texts.push_back(prompt.text);
  }
  const InitialNoise noise = sample_noise(models.front(), seeds_, 0, static_cast<std::int64_t>(texts.size()),
                                          shards_[0].height(), shards_[0].width());
  const std::vector<Image> images = models.size() == 1 ? sample_images(models.front(), texts, noise, config_.sampling)
                                                       : ensemble_images(models, texts, noise, config_.sampling);
  ModelRecord record;
  record.model = model.name;
  record.weights = name_of(model.weights);
  if (models.size() == 1) {
    record.denoising = denoising(models.front());
  }
  record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write(images, record);
  log.info("evaluated " + model.name + " (" + record.weights + " weights) in " + human_seconds(record.seconds));
}

void Evaluation::adopt_raw_record(const std::string& model) const {
  ModelRecord record = read_record(folder_ / (record_stem(model, name_of(WeightSet::raw)) + ".jsonl"));
  const std::string raw = record_stem(model, record.weights);
  record.weights = name_of(WeightSet::ema);
  for (const char* extension : {".png", ".safetensors"}) {
    if (const std::filesystem::path source = folder_ / (raw + extension); std::filesystem::exists(source)) {
      AtomicPath copy(folder_ / (record_stem(model, record.weights) + extension));
      std::filesystem::copy_file(source, copy.partial());
      copy.commit();
    }
  }
  write_record(folder_, record);
}

std::vector<DenoisingRecord> Evaluation::denoising(const DiffusionModel& model) const {
  if (denoising_images_.empty()) {
    return {};
  }
  std::vector<Image> images;
  std::vector<std::string> captions;
  for (const auto& [shard, image] : denoising_images_) {
    images.push_back(shard_image(shards_[shard], image));
    captions.push_back(styled_caption(shards_[shard].caption(image), shards_[shard].style(image)));
  }
  const std::vector<double> losses =
      denoising_losses(model, to_tensor(images), captions, seeds_, config_.sampling.clip_skip);
  std::vector<DenoisingRecord> records;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    records.push_back({shards_[denoising_images_[i].shard].origin().name, denoising_images_[i].image, losses[i]});
  }
  return records;
}

// Fills record.images and the distances; writes the features.
void Evaluation::score(const std::vector<Image>& images, ModelRecord& record) const {
  for (std::size_t i = 0; i < prompts_.size(); ++i) {
    const Prompt& prompt = prompts_[i];
    record.images.push_back(
        {i, prompt.text, prompt.caption, prompt.style, prompt.context, prompt.with_style, "", "", {}});
  }
  if (!scorer_) {
    return;
  }
  const ScorerArchitecture& classes = scorer_->architecture();
  const ImageScores scores = scorer_->score(images);
  const Features similarities = to_features(scores.embeddings.matmul(prompt_embeddings_.t()));  // [images, prompts]
  for (std::size_t i = 0; i < images.size(); ++i) {
    ImageRecord& image = record.images[i];
    const auto row = static_cast<std::int64_t>(i);
    const double alignment = similarities.row(i)[i];
    const std::uint64_t rank = rank_of(similarities.row(i), i);
    image.scores["alignment"] = alignment;
    image.scores["alignment_styled"] = image.with_style ? alignment : nan;
    image.scores["alignment_plain"] = image.with_style ? nan : alignment;
    image.scores["retrieval_rank"] = static_cast<double>(rank);
    image.scores["retrieval_top1"] = rank == 1 ? 1.0 : 0.0;
    image.predicted_context = likeliest(scores.context_probabilities[row], classes.contexts);
    image.predicted_style = likeliest(scores.style_probabilities[row], classes.styles);
    const bool known_context = class_index(classes.contexts, image.context) >= 0;
    image.scores["context_accuracy"] = known_context ? (image.predicted_context == image.context ? 1.0 : 0.0) : nan;
    const std::int64_t style = image.with_style ? class_index(classes.styles, image.style) : -1;
    image.scores["style_accuracy"] = style >= 0 ? (image.predicted_style == image.style ? 1.0 : 0.0) : nan;
    image.scores["style_probability"] = style >= 0 ? scores.style_probabilities[row][style].item<double>() : nan;
  }
  const Features features = to_features(scores.features);
  write_features(features_path(folder_, record_stem(record.model, record.weights)), features);
  if (reference_ != nullptr && features.rows >= 2) {
    const RandomStream stream = seeds_.stream("bootstrap", "", 0);
    record.scores["kernel_distance"] = KernelDistance(features, *reference_).estimate(config_.bootstrap, stream);
    record.scores["frechet_distance"] =
        FrechetDistance(features, *reference_).estimate(std::min(config_.bootstrap, frechet_resamples), stream);
  }
}

void Evaluation::write(const std::vector<Image>& images, ModelRecord& record) const {
  record.key = key_;
  const std::size_t columns = std::min(images.size(), static_cast<std::size_t>(config_.grid_prompts));
  if (columns > 0) {
    AtomicPath picture(folder_ / (record_stem(record.model, record.weights) + ".png"));
    write_png(picture.partial(), image_grid(std::span(images).first(columns), static_cast<int>(columns), 0, grid_zoom));
    picture.commit();
  }
  score(images, record);
  summarise(record, config_.bootstrap, seeds_.stream("bootstrap", "", 0));
  write_record(folder_, record);
}

std::filesystem::path features_path(const std::filesystem::path& folder, const std::string& stem) {
  return folder / (stem + ".safetensors");
}

void write_features(const std::filesystem::path& path, const Features& features) {
  const TensorSource source{"features",
                            DType::f32,
                            {static_cast<std::int64_t>(features.rows), static_cast<std::int64_t>(features.columns)},
                            std::as_bytes(std::span(features.values))};
  write_safetensors(path, std::span(&source, 1), {});
}

Features read_features(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  const TensorInfo* info = file.find("features");
  if (info == nullptr || info->dtype != DType::f32 || info->shape.size() != 2) {
    throw DataError(path, "holds no float matrix 'features'", "evaluate again");
  }
  Features features{static_cast<std::size_t>(info->shape[0]), static_cast<std::size_t>(info->shape[1]), {}};
  const auto bytes = file.bytes(*info);
  features.values.resize(bytes.size() / sizeof(float));
  std::memcpy(features.values.data(), bytes.data(), bytes.size());
  return features;
}

}  // namespace soup
