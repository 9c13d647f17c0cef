// One optimizer step: forward and backward over the micro-batches, gradients over the group, clipping, AdamW.
#pragma once

#include <ATen/core/Tensor.h>

#include "launch/communicator.hpp"
#include "trainer/adamw.hpp"
#include "trainer/batch.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/flat_state.hpp"
#include "trainer/model.hpp"
#include "trainer/train_config.hpp"

namespace soup {

// Of a whole batch.
struct StepResult {
  double loss = 0.0;           // mean over the batch
  double gradient_norm = 0.0;  // before clipping
};

class TrainingStep {
 public:
  // Trains `model` in place: its parameters become views of one flat buffer. All ranks of `group` construct it alike.
  TrainingStep(DiffusionModel& model, const TrainConfig& config, Communicator& group);

  // Computes the gradients of this rank's share of a batch and sums them over the group. Nothing is trained yet, so
  // that a result which is not finite can be refused.
  StepResult accumulate(const Batch& batch);
  // Clips and applies them. `images`: seen before this step.
  void apply(const StepResult& result, std::uint64_t images);

  [[nodiscard]] FlatState& state() { return state_; }
  [[nodiscard]] AdamW& optimizer() { return optimizer_; }
  // Captions so far that were longer than the text encoder takes, in this rank's shares.
  [[nodiscard]] std::int64_t truncated_captions() const { return truncated_captions_; }

 private:
  [[nodiscard]] at::Tensor latents_of(const Batch& batch, std::int64_t first, std::int64_t count) const;
  [[nodiscard]] at::Tensor text_of(const Batch& batch, std::int64_t first, std::int64_t count);

  DiffusionModel& model_;
  TrainConfig config_;
  Communicator& group_;
  DenoisingObjective objective_;
  FlatState state_;
  AdamW optimizer_;
  std::int64_t truncated_captions_ = 0;
};

}  // namespace soup
