#include "experiments/scorer_training.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
#include "experiments/prompts.hpp"
#include "experiments/scorer_batches.hpp"
#include "trainer/adamw.hpp"
#include "trainer/checkpoint.hpp"
#include "trainer/flat_state.hpp"

namespace soup {

namespace {

constexpr double clip_norm = 1.0;
constexpr double max_logit_scale = 4.605170185988092;  // log 100, as CLIP's training clips it (section 2.5)

std::shared_ptr<ScorerNetwork> make_network(const ScorerConfig& config, int resolution,
                                            const std::vector<std::string>& styles, const Tokenizer& tokenizer,
                                            SeedTree seeds) {
  ScorerArchitecture architecture;
  architecture.resolution = resolution;
  architecture.channels = config.channels;
  architecture.embedding = config.embedding;
  architecture.contexts = config.contexts;
  architecture.styles = styles;
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

TrainConfig schedule_of(const ScorerConfig& config) {
  TrainConfig schedule;
  schedule.batch = config.batch;
  schedule.images = (config.images + config.batch - 1) / config.batch * config.batch;
  schedule.learning_rate = config.learning_rate;
  schedule.warmup_images = config.warmup_images;
  schedule.final_lr_fraction = 0.0;
  schedule.weight_decay = config.weight_decay;
  return schedule;
}

void check_batch(const ScorerConfig& config, const ScorerData& data) {
  if (config.batch < 2 || data.places.size() < static_cast<std::size_t>(config.batch)) {
    throw DataError(
        "scorer",
        "has " + std::to_string(data.places.size()) + " training images and batches of " + std::to_string(config.batch),
        "a batch needs two images or more, and must not exceed the images there are");
  }
}

nlohmann::json to_json(const std::vector<LossPoint>& curve) {
  nlohmann::json points = nlohmann::json::array();
  for (const LossPoint& point : curve) {
    points.push_back({{"images", point.images}, {"loss", point.loss}});
  }
  return points;
}

// The loop: from the newest checkpoint of this key in `folder`, or from the start, until all images are seen.
class ScorerLoop {
 public:
  ScorerLoop(ScorerNetwork& network, const ScorerConfig& config, FlatState& state, Digest key,
             std::filesystem::path folder)
      : network_(network),
        config_(config),
        schedule_(schedule_of(config)),
        state_(state),
        optimizer_(state, schedule_),
        key_(key),
        folder_(std::move(folder)) {}

  // Returns the loss curve. Throws Interrupted after a checkpoint when a stop signal came, DataError on NaN.
  std::vector<LossPoint> run(ScorerBatches& batches, Log& log) {
    std::filesystem::create_directories(folder_);
    if (auto found = read_checkpoint(folder_, key_, state_.layout().digest(), buffers(), log)) {
      clock_ = std::move(*found);
      optimizer_.set_steps(clock_.steps);
      log.info("scorer: goes on after " + std::to_string(clock_.images) + " images");
    }
    const std::uint64_t log_images = std::max<std::uint64_t>(schedule_.images / curve_points, config_.batch);
    network_.train();
    Progress progress(log, "scorer", schedule_.images, "images", clock_.images);
    while (clock_.images < schedule_.images) {
      const std::uint64_t before = clock_.images;
      const double loss = step(batches.make(before));
      clock_.add_step(config_.batch);
      clock_.add_loss(loss, config_.batch);
      const bool finished = clock_.images >= schedule_.images;
      if (finished || passed(before, clock_.images, log_images)) {
        clock_.add_point(learning_rate_at(schedule_, before));
      }
      progress.advance_to(clock_.images, fmt::format("loss {:.4f}", loss));
      const bool stop = stop_requested() && !finished;
      if (stop || passed(before, clock_.images, checkpoint_images)) {
        write_checkpoint(folder_, key_, state_.layout().digest(), clock_, buffers());
      }
      if (stop) {
        throw Interrupted(
            fmt::format("scorer: stopped by a signal after {} images, checkpoint written", clock_.images));
      }
    }
    progress.finish();
    return clock_.curve;
  }

 private:
  static constexpr std::uint64_t curve_points = 50;
  static constexpr std::uint64_t checkpoint_images = 50'000;

  double step(const ScorerBatch& batch) {
    state_.gradients().zero_();
    const at::Tensor loss = loss_of(network_, config_, batch);
    const double value = loss.item<double>();
    loss.backward();
    const at::Tensor norm = state_.gradients().norm().to(at::kDouble);
    if (!std::isfinite(value) || !std::isfinite(norm.item<double>())) {
      throw DataError("scorer", fmt::format("NaN or Inf after {} images (loss {})", clock_.images, value),
                      "lower learning_rate; the last good checkpoint stays");
    }
    state_.scale_gradients(clip_norm, norm);
    const std::array<double, 1> rates = {learning_rate_at(schedule_, clock_.images)};
    optimizer_.step(rates);
    network_.logit_scale().detach().clamp_max_(max_logit_scale);
    return value;
  }

  // No average of the weights is kept: the rate ends at zero, which averages as well.
  TrainBuffers buffers() {
    return {
        flat_span(state_.weights()), {}, flat_span(optimizer_.first_moment()), flat_span(optimizer_.second_moment())};
  }

  ScorerNetwork& network_;
  const ScorerConfig& config_;
  TrainConfig schedule_;
  FlatState& state_;
  AdamW optimizer_;
  Digest key_;
  std::filesystem::path folder_;
  TrainClock clock_;
};

// Mean and deviation of each feature over all training images, in double.
void standardise_features(const std::shared_ptr<ScorerNetwork>& network,
                          const std::shared_ptr<const Tokenizer>& tokenizer, std::span<const ShardFile> shards,
                          const ScorerData& data) {
  std::vector<Image> images;
  images.reserve(data.places.size());
  for (const ImagePlace& place : data.places) {
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
          {"style_balance", config.style_balance},
          {"style_dropout", config.style_dropout},
          {"context_weight", config.context_weight},
          {"style_weight", config.style_weight},
          {"shift_pixels", config.shift_pixels},
          {"held_out", {{"fraction", config.held_out.fraction}, {"seed", config.held_out.seed}}}};
}

}  // namespace

ScorerAccuracy train_scorer(const ScorerConfig& config, std::span<const ShardFile> shards, SeedTree seeds,
                            const Digest& key, Log& log, const std::filesystem::path& folder) {
  const ScorerData data = gather_scorer_data(config, shards);
  check_batch(config, data);
  const auto tokenizer =
      std::make_shared<const Tokenizer>(Tokenizer::learn(data.captions, config.vocab_size, config.max_tokens));
  const auto network = make_network(config, data.side, data.styles, *tokenizer, seeds);
  FlatState state({{"scorer", network.get()}});
  log.info("scorer: " + std::to_string(state.layout().count()) + " parameters, " + std::to_string(data.places.size()) +
           " training images, " + std::to_string(data.styles.size()) + " styles");

  ScorerBatches batches(config, shards, data, *tokenizer, seeds);
  const std::vector<LossPoint> curve = ScorerLoop(*network, config, state, key, folder).run(batches, log);
  standardise_features(network, tokenizer, shards, data);

  const Scorer scorer(network, tokenizer);
  const ScorerAccuracy accuracy = measure_scorer(scorer, shards, config.held_out);
  AtomicFolder output(folder);
  scorer.save(output.partial());
  const nlohmann::json recipe = {{"configuration", to_json(config)},
                                 {"seed", seeds.root()},
                                 {"parameters", state.layout().count()},
                                 {"images_seen", curve.back().images},
                                 {"training_images", data.places.size()},
                                 {"data", data.roots},
                                 {"loss", to_json(curve)},
                                 {"model_sha256", sha256_file(output.partial() / "model.safetensors").hex()},
                                 {"held_out_accuracy", soup::to_json(accuracy)}};
  write_file_atomically(output.partial() / "recipe.json", recipe.dump(2) + "\n");
  output.commit();
  return accuracy;
}

}  // namespace soup
