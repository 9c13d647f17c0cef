// One optimizer step: forward and backward over the micro-batches, gradients over the group, clipping, AdamW.
#pragma once

#include <ATen/core/Tensor.h>

#include "launch/communicator.hpp"
#include "trainer/adamw.hpp"
#include "trainer/batch.hpp"
#include "trainer/denoising_loss.hpp"
#include "trainer/flat_state.hpp"
#include "trainer/gradient_sync.hpp"
#include "trainer/model.hpp"
#include "trainer/train_config.hpp"

namespace soup {

// Of a whole batch: numbers still on their way on the model's device, so that a step does not wait for them.
struct StepResult {
  at::Tensor loss;           // double []: mean over the batch
  at::Tensor gradient_norm;  // double []: before clipping

  // 1 where one of them is not finite, else 0: float [].
  [[nodiscard]] at::Tensor is_bad() const;
};

class TrainingStep {
 public:
  // Trains `model` in place: its parameters become views of one flat buffer. All ranks of `group` construct it alike.
  TrainingStep(DiffusionModel& model, const TrainConfig& config, Communicator& group);

  // Computes the gradients of this rank's share of a batch and sums them over the group, while they are computed: the
  // gradients of the mean loss of the whole batch, `config.batch` images, however it is shared.
  StepResult accumulate(const Batch& batch);
  // Clips and applies them, if the result is finite; after one that is not, nothing is ever applied again, so that the
  // weights stay until somebody looks. `images`: seen before this step.
  void apply(const StepResult& result, std::uint64_t images);

  [[nodiscard]] FlatState& state() { return state_; }
  [[nodiscard]] AdamW& optimizer() { return optimizer_; }

 private:
  [[nodiscard]] at::Tensor latents_of(const Batch& batch, std::int64_t first, std::int64_t count) const;
  [[nodiscard]] at::Tensor text_of(const Batch& batch, std::int64_t first, std::int64_t count) const;

  DiffusionModel& model_;
  TrainConfig config_;
  Communicator& group_;
  DenoisingObjective objective_;
  FlatState state_;
  GradientSync sync_;
  AdamW optimizer_;
  at::Tensor stopped_;  // float []: 1 after a result that was not finite
};

}  // namespace soup
