#include "experiments/scorer_training.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/progress.hpp"
#include "data/batches.hpp"
#include "data/caption.hpp"
#include "experiments/prompts.hpp"
#include "trainer/adamw.hpp"
#include "trainer/flat_state.hpp"

namespace soup {

namespace {

constexpr double clip_norm = 1.0;
constexpr double max_logit_scale = 4.605170185988092;  // log 100, as CLIP's training clips it (section 2.5)

struct Place {
  std::size_t shard;
  std::uint64_t image;
};

// Every image the scorer may learn from, and the classes they have.
struct ScorerData {
  std::vector<Place> places;
  std::vector<std::string> captions;  // plain and styled, for the tokenizer
  std::vector<std::string> styles;    // sorted
  nlohmann::json roots = nlohmann::json::object();
};

ScorerData gather(const ScorerConfig& config, std::span<const ShardFile> shards) {
  if (shards.empty()) {
    throw DataError("scorer", "there is no shard to train on");
  }
  ScorerData data;
  std::set<std::string> styles;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const ShardFile& shard = shards[s];
    if (shard.channels() != 3 || shard.height() != shard.width() || shard.height() != shards[0].height()) {
      throw DataError(shard.path(), "holds images of " + std::to_string(shard.height()) + " x " +
                                        std::to_string(shard.width()) + " x " + std::to_string(shard.channels()) +
                                        "; the scorer wants square RGB images of one size (" +
                                        std::to_string(shards[0].height()) + " in the first shard)");
    }
    const TrainingSet set = training_set(shard, config.held_out, {});
    for (const std::uint64_t image : set.images) {
      data.places.push_back({s, image});
      data.captions.push_back(shard.caption(image));
      data.captions.push_back(styled_caption(shard.caption(image), shard.style(image)));
      if (!shard.style(image).empty()) {
        styles.insert(shard.style(image));
      }
    }
    data.roots[shard.origin().name] = {
        {"merkle_root", shard.root().hex()}, {"trained_on", set.digest.hex()}, {"images", set.images.size()}};
  }
  data.styles.assign(styles.begin(), styles.end());
  return data;
}

std::shared_ptr<ScorerNetwork> make_network(const ScorerConfig& config, int resolution,
                                            const std::vector<std::string>& styles, const Tokenizer& tokenizer,
                                            SeedTree seeds) {
  ScorerArchitecture architecture{.resolution = resolution,
                                  .channels = config.channels,
                                  .embedding = config.embedding,
                                  .text = {},
                                  .contexts = config.contexts,
                                  .styles = styles};
  architecture.text.vocab_size = tokenizer.vocab_size();
  architecture.text.hidden_size = config.text_width;
  architecture.text.intermediate_size = 4 * config.text_width;
  architecture.text.num_hidden_layers = config.text_layers;
  architecture.text.num_attention_heads = config.text_heads;
  architecture.text.max_position_embeddings = tokenizer.max_length();
  architecture.text.eos_token_id = tokenizer.end_token();
  // Through its own reader, so that training refuses what loading would refuse.
  architecture = ScorerArchitecture::from_json(architecture.to_json(), "scorer configuration");
  auto network = std::make_shared<ScorerNetwork>(architecture);
  for (auto& item : network->named_parameters()) {
    at::Tensor weight = item.value().detach();
    if (weight.dim() >= 2) {  // norms, biases and the temperature keep their constants
      const bool lookup = item.key().find("embedding") != std::string::npos;
      const double fan_in = static_cast<double>(weight.numel() / weight.size(0));
      const double gain = weight.dim() == 4 ? 2.0 : 1.0;  // He et al. 2015, eq. 10, before an activation
      RandomStream stream = seeds.stream("init", "scorer." + item.key(), 0);
      stream.fill_normal({weight.data_ptr<float>(), static_cast<std::size_t>(weight.numel())});
      weight.mul_(lookup ? 0.02 : std::sqrt(gain / fan_in));
    } else if (item.key().find("norm") != std::string::npos && item.key().ends_with("weight")) {
      weight.fill_(1.0);
    } else if (item.key().ends_with("bias")) {
      weight.zero_();
    }
  }
  return network;
}

struct ScorerBatch {
  at::Tensor images;              // float [B, 3, R, R] in [-1, 1]
  at::Tensor ids;                 // [B, L]
  at::Tensor contexts, styles;    // [B], -1 where unknown
  at::Tensor also_right;          // bool [B, B]: caption j fits image i too, i != j
};

class BatchMaker {
 public:
  BatchMaker(const ScorerConfig& config, std::span<const ShardFile> shards, const ScorerData& data,
             const Tokenizer& tokenizer, SeedTree seeds)
      : config_(config),
        shards_(shards),
        data_(data),
        tokenizer_(tokenizer),
        seeds_(seeds),
        order_(seeds, "scorer", data.places.size()) {}

  ScorerBatch make(std::uint64_t first_counter) {
    const auto batch = static_cast<std::size_t>(config_.batch);
    const std::int64_t size = shards_[0].height();
    ScorerBatch result{at::empty({config_.batch, 3, size, size}), {}, {}, {}, {}};
    std::vector<std::string> texts(batch);
    std::vector<std::int64_t> contexts(batch);
    std::vector<std::int64_t> styles(batch);
    std::vector<Place> places(batch);
    std::vector<bool> plain(batch);
    for (std::size_t i = 0; i < batch; ++i) {
      const std::uint64_t counter = first_counter + i;
      places[i] = data_.places[order_.at(counter)];
      const auto& [shard_index, image] = places[i];
      const ShardFile& shard = shards_[shard_index];
      plain[i] = shard.style(image).empty() ||
                 seeds_.stream("scorer_caption", "", counter).uniform() < config_.style_dropout;
      texts[i] = plain[i] ? shard.caption(image) : styled_caption(shard.caption(image), shard.style(image));
      contexts[i] = class_index(config_.contexts, caption_context(shard.caption(image)));
      styles[i] = class_index(data_.styles, shard.style(image));
      copy_shifted(shard.pixels(image), counter, result.images[static_cast<std::int64_t>(i)]);
    }
    result.ids = token_ids(tokenizer_, texts);
    result.contexts = at::tensor(contexts);
    result.styles = at::tensor(styles);
    result.also_right = at::zeros({config_.batch, config_.batch}, at::kBool);
    auto also_right = result.also_right.accessor<bool, 2>();
    for (std::size_t i = 0; i < batch; ++i) {
      for (std::size_t j = 0; j < batch; ++j) {
        also_right[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(j)] =
            i != j && caption(places[i]) == caption(places[j]) && (plain[j] || style(places[i]) == style(places[j]));
      }
    }
    return result;
  }

 private:
  const std::string& caption(const Place& place) const { return shards_[place.shard].caption(place.image); }
  const std::string& style(const Place& place) const { return shards_[place.shard].style(place.image); }

  // Pixels to [-1, 1], moved by a random shift over a white border.
  void copy_shifted(std::span<const std::uint8_t> pixels, std::uint64_t counter, const at::Tensor& out) const {
    RandomStream stream = seeds_.stream("scorer_shift", "", counter);
    const auto draw = [&] {
      return static_cast<int>(stream.below(2 * static_cast<std::uint64_t>(config_.shift_pixels) + 1)) -
             config_.shift_pixels;
    };
    const int dy = draw();
    const int dx = draw();
    const int size = shards_[0].height();
    auto* values = out.data_ptr<float>();
    for (int c = 0; c < 3; ++c) {
      for (int y = 0; y < size; ++y) {
        for (int x = 0; x < size; ++x) {
          const int sy = y - dy;
          const int sx = x - dx;
          const bool inside = sy >= 0 && sy < size && sx >= 0 && sx < size;
          const auto source = (static_cast<std::size_t>(sy) * size + static_cast<std::size_t>(sx)) * 3 + c;
          *values++ = inside ? static_cast<float>(pixels[source]) / 127.5F - 1.0F : 1.0F;
        }
      }
    }
  }

  const ScorerConfig& config_;
  std::span<const ShardFile> shards_;
  const ScorerData& data_;
  const Tokenizer& tokenizer_;
  SeedTree seeds_;
  SampleOrder order_;
};

at::Tensor loss_of(ScorerNetwork& network, const ScorerConfig& config, const ScorerBatch& batch) {
  const auto images = network.forward_images(batch.images);
  const at::Tensor texts = network.forward_texts(batch.ids);
  const at::Tensor logits = (images.embeddings.matmul(texts.t()) * network.logit_scale().exp())
                                .masked_fill(batch.also_right, -1e4);  // neither right nor wrong: out of the softmax
  const at::Tensor own = at::arange(config.batch, at::kLong);
  at::Tensor loss = 0.5 * (at::cross_entropy_loss(logits, own) + at::cross_entropy_loss(logits.t(), own));
  const auto add_head = [&loss](const at::Tensor& predictions, const at::Tensor& classes, double weight) {
    if (weight > 0.0 && predictions.size(1) > 0 && classes.ge(0).any().item<bool>()) {
      loss = loss + weight * at::cross_entropy_loss(predictions, classes, {}, at::Reduction::Mean, -1);
    }
  };
  add_head(images.contexts, batch.contexts, config.context_weight);
  add_head(images.styles, batch.styles, config.style_weight);
  return loss;
}

// Mean and deviation of each feature over all training images, in double.
void standardise_features(const std::shared_ptr<ScorerNetwork>& network, const std::shared_ptr<const Tokenizer>& tokenizer,
                          std::span<const ShardFile> shards, const ScorerData& data) {
  std::vector<Image> images;
  images.reserve(data.places.size());
  for (const Place& place : data.places) {
    images.push_back(shard_image(shards[place.shard], place.image));
  }
  const at::Tensor features = Scorer(network, tokenizer).score(images).features.to(at::kDouble);
  network->feature_mean().copy_(features.mean(0));
  // A feature that never moves keeps the scale 1 rather than divide by nothing.
  const at::Tensor deviation = features.std(0, /*unbiased=*/false);
  network->feature_deviation().copy_(deviation.where(deviation > 1e-6, at::ones_like(deviation)));
}

nlohmann::json to_json(const ScorerConfig& config) {
  return {{"channels", config.channels},
          {"vocab_size", config.vocab_size},
          {"max_tokens", config.max_tokens},
          {"text_width", config.text_width},
          {"text_layers", config.text_layers},
          {"text_heads", config.text_heads},
          {"embedding", config.embedding},
          {"contexts", config.contexts},
          {"images", config.images},
          {"batch", config.batch},
          {"learning_rate", config.learning_rate},
          {"warmup_images", config.warmup_images},
          {"weight_decay", config.weight_decay},
          {"style_dropout", config.style_dropout},
          {"context_weight", config.context_weight},
          {"style_weight", config.style_weight},
          {"shift_pixels", config.shift_pixels},
          {"held_out", {{"fraction", config.held_out.fraction}, {"seed", config.held_out.seed}}}};
}

}  // namespace

ScorerAccuracy train_scorer(const ScorerConfig& config, std::span<const ShardFile> shards, SeedTree seeds, Log& log,
                            const std::filesystem::path& folder) {
  const ScorerData data = gather(config, shards);
  if (config.batch < 2 || data.places.size() < static_cast<std::size_t>(config.batch)) {
    throw DataError("scorer", "has " + std::to_string(data.places.size()) + " training images and batches of " +
                                  std::to_string(config.batch),
                    "a batch needs two images or more, and must not exceed the images there are");
  }
  const auto tokenizer =
      std::make_shared<const Tokenizer>(Tokenizer::learn(data.captions, config.vocab_size, config.max_tokens));
  const auto network = make_network(config, shards[0].height(), data.styles, *tokenizer, seeds);
  FlatState state({{"scorer", network.get()}});
  TrainConfig schedule;
  schedule.batch = config.batch;
  schedule.images = (config.images + config.batch - 1) / config.batch * config.batch;
  schedule.learning_rate = config.learning_rate;
  schedule.warmup_images = config.warmup_images;
  schedule.final_lr_fraction = 0.0;
  schedule.weight_decay = config.weight_decay;
  AdamW optimizer(state, schedule);
  BatchMaker batches(config, shards, data, *tokenizer, seeds);

  log.info("scorer: " + std::to_string(state.layout().count()) + " parameters, " + std::to_string(data.places.size()) +
           " training images, " + std::to_string(data.styles.size()) + " styles");
  nlohmann::json curve = nlohmann::json::array();
  const std::uint64_t steps = schedule.images / config.batch;
  const std::uint64_t log_every = std::max<std::uint64_t>(1, steps / 50);
  double running = 0.0;
  network->train();
  {
    Progress progress(log, "scorer", schedule.images, "images");
    for (std::uint64_t step = 0; step < steps; ++step) {
      const std::uint64_t seen = step * config.batch;
      state.gradients().zero_();
      const at::Tensor loss = loss_of(*network, config, batches.make(seen));
      const double value = loss.item<double>();
      if (!std::isfinite(value)) {
        throw DataError("scorer", "the loss is not finite after " + std::to_string(seen) + " images",
                        "lower learning_rate");
      }
      loss.backward();
      const double norm = state.gradients().norm().item<double>();
      if (norm > clip_norm) {
        state.gradients().mul_(clip_norm / norm);
      }
      optimizer.step(learning_rate_at(schedule, seen));
      network->logit_scale().detach().clamp_max_(max_logit_scale);
      running += value;
      if ((step + 1) % log_every == 0) {
        const double mean = running / static_cast<double>(log_every);
        running = 0.0;
        curve.push_back({{"images", seen + config.batch}, {"loss", mean}});
        progress.advance_to(seen + config.batch, "loss " + std::to_string(mean));
      }
    }
  }
  standardise_features(network, tokenizer, shards, data);

  const Scorer scorer(network, tokenizer);
  const ScorerAccuracy accuracy = measure_scorer(scorer, shards, config.held_out);
  AtomicFolder output(folder);
  scorer.save(output.partial());
  const nlohmann::json recipe = {{"configuration", to_json(config)},
                                 {"seed", seeds.root()},
                                 {"parameters", state.layout().count()},
                                 {"images_seen", schedule.images},
                                 {"training_images", data.places.size()},
                                 {"data", data.roots},
                                 {"loss", curve},
                                 {"model_sha256", sha256_file(output.partial() / "model.safetensors").hex()},
                                 {"held_out_accuracy", soup::to_json(accuracy)}};
  write_file_atomically(output.partial() / "recipe.json", recipe.dump(2) + "\n");
  output.commit();
  return accuracy;
}

}  // namespace soup
