// The one trainer.
#include "trainer/trainer.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <future>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/ema.hpp"
#include "trainer/sampler.hpp"
#include "trainer/shard_encoder.hpp"

namespace soup {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int sample_zoom = 2;  // pixels of a picture per pixel of a small image
constexpr int small_image = 128;

// Steps that may be queued on a GPU before the loss of the first is looked at: it never waits for this program then.
constexpr std::size_t most_pending_steps = 2;

}  // namespace

Trainer::Trainer(DiffusionModel& model, std::shared_ptr<const TrainingImages> images, Validation validation,
                 TrainJob job, Communicator& group, Log& log)
    : model_(model),
      images_(std::move(images)),
      validation_(std::move(validation)),
      job_(std::move(job)),
      group_(group),
      log_(log),
      step_(model, job_.config, group),
      state_(step_.state()),
      ema_(job_.config.averages() ? state_.weights().clone() : at::Tensor()),
      checkpoints_({job_.title, job_.folder, job_.key, state_.layout().digest(), job_.config.keep_checkpoints},
                   checkpoint_sizes(), log) {
  const TrainConfig& config = job_.config;
  if (images_->size() == 0) {
    throw ConfigError(job_.title + " has no images to train on",
                      "every image is held out or dropped as a duplicate: lower data.held_out");
  }
  if (config.batch < group_.size()) {
    throw ConfigError(
        fmt::format("{}: a batch of {} images cannot be shared by {} ranks", job_.title, config.batch, group_.size()),
        "each rank needs at least one image of a batch");
  }
}

TrainBuffers Trainer::InMemory::spans() {
  return {flat_span(weights), ema.defined() ? flat_span(ema) : std::span<float>(), flat_span(first_moment),
          flat_span(second_moment)};
}

Trainer::InMemory Trainer::in_memory() {
  return {state_.weights().cpu(), ema_.defined() ? ema_.cpu() : ema_, step_.optimizer().first_moment().cpu(),
          step_.optimizer().second_moment().cpu()};
}

CheckpointSizes Trainer::checkpoint_sizes() {
  const std::size_t count = state_.layout().count();
  return {count, ema_.defined() ? count : 0, static_cast<std::size_t>(step_.optimizer().first_moment().numel()),
          static_cast<std::size_t>(step_.optimizer().second_moment().numel())};
}

void Trainer::load(const InMemory& buffers) {
  state_.weights().copy_(buffers.weights);
  if (ema_.defined()) {
    ema_.copy_(buffers.ema);
  }
  step_.optimizer().first_moment().copy_(buffers.first_moment);
  step_.optimizer().second_moment().copy_(buffers.second_moment);
}

void Trainer::run() {
  const TrainConfig& config = job_.config;
  const Digest layout = state_.layout().digest();
  InMemory buffers = in_memory();
  if (std::optional<TrainClock> found =
          agreed(group_, [&] { return read_checkpoint(job_.folder, job_.key, layout, buffers.spans(), log_); })) {
    load(buffers);
    clock_ = std::move(*found);
    step_.optimizer().set_steps(clock_.steps);
    log_.info(fmt::format("{}: goes on after {} images", job_.title, clock_.images));
  }
  buffers = {};
  check_same_start();
  std::optional<Progress> progress;  // the first rank speaks for the group
  if (group_.rank() == 0) {
    progress.emplace(log_, job_.title, config.images, "images", clock_.images);
  }
  BatchMaker maker(images_, config, job_.seeds, job_.scope, model_, cached_inputs());
  // Shares differ by one image at most.
  const std::int64_t first = config.batch * group_.rank() / group_.size();
  const std::int64_t share = config.batch * (group_.rank() + 1) / group_.size() - first;
  const bool on_gpu = !model_.device().is_cpu();
  const auto prepare = [&](std::uint64_t images) {
    Batch batch = maker.make(images + static_cast<std::uint64_t>(first), share);
    if (on_gpu) {
      batch.pin();
    }
    return batch;
  };

  std::future<Batch> next = std::async(std::launch::async, prepare, clock_.images);
  while (clock_.images < config.images) {
    const Clock::time_point start = Clock::now();
    // One rank's shard may be damaged, or out of its reach.
    const Batch batch = agreed(group_, [&] { return next.get(); });
    next = std::async(std::launch::async, prepare, clock_.images + static_cast<std::uint64_t>(config.batch));

    const std::uint64_t before = clock_.images;
    step(batch);
    settle(on_gpu ? most_pending_steps : 0);
    clock_.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    record(before);
    if (progress) {
      progress->advance_to(clock_.images, fmt::format("loss {:.4f}", last_loss_));
    }

    std::array<std::int64_t, 1> stop = {stop_requested() ? 1 : 0};
    if (group_.size() > 1) {
      group_.all_reduce_max(std::span<std::int64_t>(stop));
    }
    const bool finished = clock_.images >= config.images;
    if (stop[0] != 0 || finished || passed(before, clock_.images, config.checkpoint_images)) {
      checkpoint();
    }
    if (passed(before, clock_.images, config.sample_images)) {
      draw_samples();
    }
    if (stop[0] != 0 || finished) {
      finish_checkpoints();
    }
    if (stop[0] != 0 && !finished) {
      throw Interrupted(
          fmt::format("{}: stopped by a signal after {} images, checkpoint written", job_.title, clock_.images));
    }
  }
  if (progress) {
    progress->finish();
  }
}

// Ranks that found different checkpoints would train apart.
void Trainer::check_same_start() const {
  const auto images = static_cast<std::int64_t>(clock_.images);
  std::array<std::int64_t, 2> range = {images, -images};  // the largest of x and of -x
  group_.all_reduce_max(std::span<std::int64_t>(range));
  if (range[0] != -range[1]) {
    throw DataError(
        job_.folder,
        fmt::format("{}: some rank goes on after {} images, another after {}", job_.title, -range[1], range[0]),
        "all ranks of a group need the same folder; where a network file system shows it late, give the command again");
  }
}

// One optimizer step, queued.
void Trainer::step(const Batch& batch) {
  if (batch.truncated > 0 && !warned_of_truncation_) {
    warned_of_truncation_ = true;
    log_.warn(
        fmt::format("{}: there are captions longer than the {} tokens that the text encoder takes; their ends are lost",
                    job_.title, model_.tokenizer->max_length()));
  }
  const StepResult result = step_.accumulate(batch);
  step_.apply(result, clock_.images);
  pending_.push_back({clock_.images, PendingNumbers({result.loss, result.gradient_norm})});
  clock_.add_step(job_.config.batch);
  if (ema_.defined()) {
    update_ema(ema_, state_.weights(), ema_decay(job_.config, clock_.images));
  }
}

// Waits until no more than so many steps are queued, and looks at the results of the others. A step whose result is not
// finite has changed nothing.
void Trainer::settle(std::size_t most_pending) {
  while (pending_.size() > most_pending) {
    const std::vector<double> numbers = pending_.front().numbers.wait();
    if (!std::isfinite(numbers[0]) || !std::isfinite(numbers[1])) {
      throw_non_finite(numbers[0], pending_.front().images);
    }
    last_loss_ = numbers[0];
    clock_.add_loss(last_loss_, job_.config.batch);
    pending_.pop_front();
  }
}

// Names what is not finite. All ranks come here together, since after the all-reduce all hold the same gradients. On a
// GPU they may be those of a later step, which mostly are no better.
void Trainer::throw_non_finite(double loss, std::uint64_t images) const {
  const auto error = [&](const char* what, const std::string& tensor) {
    return DataError(
        job_.folder,
        fmt::format("{}: NaN or Inf after {} images (loss {}), first in the {} of {}", job_.title, images, loss, what,
                    tensor),
        "the last good checkpoint stays; lower learning_rate or set clip_norm, then give the same command again");
  };
  // One rank's weights can be the cause of all ranks' gradients: that rank's error is the one to show.
  agreed(group_, [&] {
    if (const std::string tensor = state_.first_non_finite(state_.weights()); !tensor.empty()) {
      throw error("weight", tensor);
    }
  });
  const std::string tensor = state_.first_non_finite(state_.gradients());
  throw error("gradient", tensor.empty() ? "no single tensor: their norm overflows" : tensor);
}

// A point of the curve where one is due after the step that began at `before` images.
void Trainer::record(std::uint64_t before) {
  const TrainConfig& config = job_.config;
  const bool validate = passed(before, clock_.images, config.validate_images);
  if (!validate && !passed(before, clock_.images, config.log_images) && clock_.images < config.images) {
    return;
  }
  settle(0);
  LossPoint& point = clock_.add_point(learning_rate_at(config, before));
  if (validate && !validation_.images.empty()) {
    point.held_out_loss = held_out_loss();
    log_.info(fmt::format("{}: {} images, loss {:.4f}, held-out loss {:.4f}{}", job_.title, point.images, point.loss,
                          point.held_out_loss, ema_.defined() ? " (EMA)" : ""));
  }
}

double Trainer::held_out_loss() {
  const EmaScope ema(*this);
  const std::vector<double> losses =
      denoising_losses(model_, validation_.images, validation_.captions, job_.seeds, job_.config.clip_skip);
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
}

// What the shards hold of the encoders' work, where it is this model's encoders'.
CachedInputs Trainer::cached_inputs() const {
  CachedInputs cached;
  if (const MomentsFormat* format = images_->moments_format()) {
    cached.moments = format->encoder == autoencoder_digest(model_);
    if (!cached.moments) {
      log_.warn(job_.title + ": the shards' latents are of another autoencoder; images are encoded anew at every step");
    }
  }
  if (const TextStatesFormat* format = images_->text_states_format();
      format != nullptr && !job_.config.train_text_encoder) {
    cached.text_states = format->encoder == text_encoder_digest(model_, job_.config.clip_skip);
    if (!cached.text_states) {
      log_.warn(job_.title +
                ": the shards' text states are of another text encoder or clip_skip; captions are encoded "
                "anew at every step");
    }
  }
  return cached;
}

void Trainer::checkpoint() {
  settle(0);
  agreed(group_, [&] {
    if (group_.rank() != 0) {
      return;
    }
    checkpoints_.write(clock_, [&](const TrainBuffers& buffers) {
      const auto copy = [](at::Tensor from, std::span<float> to) {
        if (from.defined()) {
          at::from_blob(to.data(), {static_cast<std::int64_t>(to.size())}, at::kFloat).copy_(from);
        }
      };
      copy(state_.weights(), buffers.weights);
      copy(ema_, buffers.ema);
      copy(step_.optimizer().first_moment(), buffers.first_moment);
      copy(step_.optimizer().second_moment(), buffers.second_moment);
    });
    if (job_.config.snapshots) {
      write_snapshot();
    }
  });
}

void Trainer::finish_checkpoints() {
  agreed(group_, [&] { checkpoints_.finish(); });
}

// The model as it is now, to look at.
void Trainer::write_snapshot() {
  const EmaScope ema(*this);
  AtomicFolder snapshot(job_.folder / "snapshot");
  save_model(snapshot.partial(), model_,
             {{"images", std::to_string(clock_.images)}, {"weights", ema_.defined() ? "ema" : "raw"}});
  snapshot.commit();
}

// One picture of all prompts, always from the same noise.
void Trainer::draw_samples() {
  agreed(group_, [&] {
    if (group_.rank() != 0) {
      return;
    }
    const EmaScope ema(*this);
    const std::int64_t side = model_.native_side();
    const auto count = static_cast<std::int64_t>(job_.config.sample_prompts.size());
    SampleOptions options;
    options.clip_skip = job_.config.clip_skip;
    const InitialNoise noise = sample_noise(model_, job_.seeds, 0, count, side, side);
    const std::vector<Image> images = sample_images(model_, job_.config.sample_prompts, noise, options);
    const int zoom = side < small_image ? sample_zoom : 1;
    std::filesystem::create_directories(job_.folder / samples_folder);
    write_png(job_.folder / samples_folder / fmt::format("images-{:012}.png", clock_.images),
              image_grid(images, std::min<int>(8, static_cast<int>(count)), 2, zoom));
  });
}

void Trainer::write_curve(const std::filesystem::path& path) const {
  std::string lines;
  for (const LossPoint& point : clock_.curve) {
    nlohmann::ordered_json line = {
        {"images", point.images}, {"loss", point.loss}, {"learning_rate", point.learning_rate}};
    if (point.held_out_loss >= 0.0) {
      line["held_out_loss"] = point.held_out_loss;
    }
    lines += line.dump() + "\n";
  }
  write_file_atomically(path, lines);
}

Trainer::EmaScope::EmaScope(Trainer& trainer) : trainer_(trainer) {
  if (trainer_.ema_.defined()) {
    const at::NoGradGuard no_grad;
    raw_ = trainer_.state_.weights().clone();
    trainer_.state_.weights().copy_(trainer_.ema_);
  }
}

Trainer::EmaScope::~EmaScope() {
  if (raw_.defined()) {
    const at::NoGradGuard no_grad;
    trainer_.state_.weights().copy_(raw_);
  }
}

}  // namespace soup
