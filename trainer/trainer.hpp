// The one trainer: base, ingredient and paragon differ only in images, budget and scope.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/log.hpp"
#include "core/random.hpp"
#include "data/image.hpp"
#include "launch/communicator.hpp"
#include "trainer/batch.hpp"
#include "trainer/checkpoint.hpp"
#include "trainer/checkpoint_writer.hpp"
#include "trainer/model.hpp"
#include "trainer/pending_numbers.hpp"
#include "trainer/train_config.hpp"
#include "trainer/training_images.hpp"
#include "trainer/training_step.hpp"

namespace soup {

// Who trains what, where.
struct TrainJob {
  std::string title;  // for progress and errors: "ingredient oxygen"
  std::string scope;  // of the random streams: the shard's name, "base" or "paragon"
  TrainConfig config;
  SeedTree seeds{0};
  Digest key;                    // the stage's; a checkpoint of another key is not resumed
  std::filesystem::path folder;  // for checkpoints
};

// Held-out images, of any sizes, for the loss that runs along; may be none.
struct Validation {
  std::vector<Image> images = {};
  std::vector<std::string> captions = {};
};

class Trainer {
 public:
  // `model` is trained in place: its parameters become views of this trainer's flat buffer. All ranks of `group`
  // construct it alike.
  Trainer(DiffusionModel& model, std::shared_ptr<const TrainingImages> images, Validation validation, TrainJob job,
          Communicator& group, Log& log);

  // Resumes from the newest usable checkpoint, then trains until job.config.images. Throws Interrupted after a
  // checkpoint when a stop signal came, DataError (tensor, scope, image count) on NaN or Inf: the last good checkpoint
  // stays. All ranks throw alike.
  void run();

  // Where pictures of sample_prompts go, below the job's folder.
  static constexpr const char* samples_folder = "samples";

  // Writes loss.jsonl: one line per point of the curve.
  void write_curve(const std::filesystem::path& path) const;
  [[nodiscard]] const TrainClock& clock() const { return clock_; }

  // While it lives the model holds the EMA weights, where they are kept, instead of the raw ones.
  class EmaScope {
   public:
    explicit EmaScope(Trainer& trainer);
    ~EmaScope();
    EmaScope(const EmaScope&) = delete;
    EmaScope& operator=(const EmaScope&) = delete;

   private:
    Trainer& trainer_;
    at::Tensor raw_;
  };

 private:
  void step(const Batch& batch);
  void settle(std::size_t most_pending);
  void draw_samples();
  void check_same_start() const;
  [[noreturn]] void throw_non_finite(double loss, std::uint64_t images) const;
  void record(std::uint64_t before);
  void checkpoint();
  void finish_checkpoints();
  void write_snapshot();
  [[nodiscard]] double held_out_loss();
  [[nodiscard]] CachedInputs cached_inputs() const;
  // The flat buffers in memory: the tensors themselves, or copies of those on a GPU.
  struct InMemory {
    at::Tensor weights;
    at::Tensor ema;
    at::Tensor first_moment;
    at::Tensor second_moment;
    [[nodiscard]] TrainBuffers spans();
  };
  [[nodiscard]] InMemory in_memory();
  [[nodiscard]] CheckpointSizes checkpoint_sizes();
  void load(const InMemory& buffers);

  DiffusionModel& model_;
  std::shared_ptr<const TrainingImages> images_;
  Validation validation_;
  TrainJob job_;
  Communicator& group_;
  Log& log_;
  TrainingStep step_;
  FlatState& state_;
  at::Tensor ema_;  // undefined where only raw weights are kept
  TrainClock clock_;
  // Loss and gradient norm of steps that may not be through yet, and the images seen before each.
  struct PendingStep {
    std::uint64_t images;
    PendingNumbers numbers;
  };
  std::deque<PendingStep> pending_;
  CheckpointWriter checkpoints_;  // the first rank's are used
  double last_loss_ = 0.0;        // of the last step that is known
  bool warned_of_truncation_ = false;
};

}  // namespace soup
