// One optimizer step.
#include "trainer/training_step.hpp"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <array>

#include "trainer/autocast.hpp"

namespace soup {

namespace {

// The model as this training sees it: the noise schedule may be another than its base's.
const NoiseSchedule& adapt_schedule(DiffusionModel& model, const TrainConfig& config) {
  model.set_schedule(model.config.schedule.adapted(config.prediction_type, config.zero_terminal_snr));
  return *model.schedule;
}

std::vector<TrainedPart> trained_parts(const DiffusionModel& model, const TrainConfig& config) {
  std::vector<TrainedPart> parts = {{"unet", model.unet.get()}};
  if (config.train_text_encoder) {
    parts.push_back({"text_encoder", model.text_encoder.get()});
  }
  return parts;
}

at::Tensor part_of(const at::Tensor& tensor, std::int64_t first, std::int64_t count, at::Device device) {
  return tensor.defined() ? tensor.narrow(0, first, count).to(device, /*non_blocking=*/true) : tensor;
}

}  // namespace

TrainingStep::TrainingStep(DiffusionModel& model, const TrainConfig& config, Communicator& group)
    : model_(model),
      config_(config),
      group_(group),
      objective_(adapt_schedule(model, config), model.device(), config.min_snr_gamma),
      state_(trained_parts(model, config), config.frozen),
      sync_(state_, group),
      optimizer_(state_, config) {
  model_.unet->recompute_activations(config.recompute_activations);
}

at::Tensor TrainingStep::latents_of(const Batch& batch, std::int64_t first, std::int64_t count) const {
  const at::NoGradGuard no_grad;
  const at::Tensor moments = batch.moments.defined()
                                 ? part_of(batch.moments, first, count, model_.device())
                                 : model_.autoencoder->encode(part_of(batch.images, first, count, model_.device()));
  return model_.autoencoder->latents(moments, part_of(batch.latent_noise, first, count, model_.device()));
}

at::Tensor TrainingStep::text_of(const Batch& batch, std::int64_t first, std::int64_t count) const {
  if (batch.text_states.defined()) {
    return part_of(batch.text_states, first, count, model_.device());
  }
  const at::AutoGradMode train(config_.train_text_encoder);
  return model_.text_encoder->forward(part_of(batch.token_ids, first, count, model_.device()), config_.clip_skip);
}

at::Tensor StepResult::is_bad() const {
  return (loss.isfinite() & gradient_norm.isfinite()).logical_not().to(at::kFloat);
}

StepResult TrainingStep::accumulate(const Batch& batch) {
  state_.gradients().zero_();
  const std::int64_t share = batch.timesteps.size(0);
  const std::int64_t micro_batch = config_.micro_batch > 0 ? std::min(config_.micro_batch, share) : share;
  at::Tensor loss_sum = at::zeros({}, at::TensorOptions().device(model_.device()));
  for (std::int64_t first = 0; first < share; first += micro_batch) {
    const std::int64_t count = std::min(micro_batch, share - first);
    at::Tensor loss;
    {
      const AutocastScope autocast(model_.device(), config_.precision == "bf16");
      const LatentNoise noise{.added = part_of(batch.noise.added, first, count, model_.device()),
                              .seen = part_of(batch.noise.seen, first, count, model_.device())};
      const at::Tensor losses =
          denoising_loss(model_, objective_, latents_of(batch, first, count), noise,
                         part_of(batch.timesteps, first, count, model_.device()), text_of(batch, first, count));
      // The batch's mean, whatever micro-batches and shares there are.
      loss = count == config_.batch ? losses.mean() : losses.sum() / config_.batch;
    }
    if (first + count == share) {
      sync_.begin();
    }
    loss.backward();
    loss_sum += loss.detach();
  }
  at::Tensor mean_loss = loss_sum.to(at::kDouble);
  sync_.finish();
  if (group_.size() > 1 && (mean_loss.is_cpu() || group_.takes_gpu_memory())) {
    group_.all_reduce_sum(std::span(mean_loss.data_ptr<double>(), 1));
  } else if (group_.size() > 1) {
    std::array<double, 1> sum = {mean_loss.item<double>()};
    group_.all_reduce_sum(std::span<double>(sum));
    mean_loss.fill_(sum[0]);
  }
  return {.loss = mean_loss, .gradient_norm = state_.gradients().norm().to(at::kDouble)};
}

void TrainingStep::apply(const StepResult& result, std::uint64_t images) {
  stopped_ = stopped_.defined() ? at::maximum(stopped_, result.is_bad()) : result.is_bad();
  state_.scale_gradients(config_.clip_norm, result.gradient_norm);
  const double factor = learning_rate_factor(config_, images);
  const std::array<double, 2> rates = {config_.learning_rate * factor,
                                       config_.text_encoder_learning_rate.value_or(config_.learning_rate) * factor};
  optimizer_.step(rates, stopped_);
}

}  // namespace soup
