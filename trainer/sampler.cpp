// The sampling loop: a plan's steps with classifier-free guidance.
#include "trainer/sampler.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "core/error.hpp"
#include "core/signals.hpp"
#include "trainer/pixels.hpp"

namespace soup {
namespace {

// Rows first .. first + count of text states given once for all or once per row.
at::Tensor rows(const at::Tensor& text, std::int64_t first, std::int64_t count) {
  return text.size(0) == 1 ? text.expand({count, -1, -1}) : text.narrow(0, first, count);
}

// The network's prediction for sample: guided where there are two texts for every latent.
at::Tensor predict(const Denoiser& denoiser, const at::Tensor& sample, double timestep, const at::Tensor& states,
                   const SampleOptions& options) {
  const std::int64_t size = sample.size(0);
  if (!states.defined() || states.size(0) == size) {
    return denoiser(sample, timestep, states);
  }
  const at::Tensor both = denoiser(at::cat({sample, sample}), timestep, states);
  const at::Tensor unconditional = both.narrow(0, 0, size);
  const at::Tensor conditional = both.narrow(0, size, size);
  const at::Tensor guided = unconditional + options.guidance * (conditional - unconditional);
  if (options.guidance_rescale == 0.0) {
    return guided;
  }
  const auto deviation = [](const at::Tensor& values) { return values.std({1, 2, 3}, /*correction=*/1, true); };
  const at::Tensor rescaled = guided * (deviation(conditional) / deviation(guided));
  return options.guidance_rescale * rescaled + (1.0 - options.guidance_rescale) * guided;
}

void check_inputs(const at::Tensor& noise, const at::Tensor& text, const at::Tensor& empty_text,
                  const SampleOptions& options) {
  const std::int64_t count = noise.size(0);
  if (text.defined()) {
    SOUP_REQUIRE(
        text.size(0) == count && (!empty_text.defined() || empty_text.size(0) == count || empty_text.size(0) == 1),
        fmt::format("{} noises, {} texts, {} empty texts", count, text.size(0),
                    empty_text.defined() ? empty_text.size(0) : 0));
  }
  if (!std::isfinite(options.guidance)) {
    throw ConfigError(fmt::format("guidance {} is no number", options.guidance), "7.5 is usual, 1 is none");
  }
  if (options.batch < 1) {
    throw ConfigError(fmt::format("a sampling batch of {} images, must be at least 1", options.batch));
  }
  if (options.guidance != 1.0 && !(text.defined() && empty_text.defined())) {
    throw ConfigError(fmt::format("guidance {} needs a text, and this model takes none", options.guidance),
                      "give guidance 1");
  }
}

}  // namespace

Denoiser denoiser_of(const DiffusionModel& model) {
  return [unet = model.unet](const at::Tensor& latents, double timestep, const at::Tensor& text) {
    return unet->forward(latents, at::full({latents.size(0)}, timestep, latents.options().dtype(at::kFloat)), text);
  };
}

InitialNoise sample_noise(const DiffusionModel& model, SeedTree seeds, std::uint64_t first_counter, std::int64_t count,
                          std::int64_t height, std::int64_t width) {
  const std::int64_t factor = model.autoencoder->factor();
  if (count < 0 || height < factor || height % factor != 0 || width < factor || width % factor != 0) {
    throw ConfigError(fmt::format("cannot sample {} images of {} x {} pixels: the autoencoder {} needs multiples of {}",
                                  count, height, width, model.autoencoder->name(), factor));
  }
  const std::vector<std::int64_t> shape = {model.config.unet.in_channels, height / factor, width / factor};
  const std::int64_t values = shape[0] * shape[1] * shape[2];
  const auto draw = [=](const std::string& purpose, const std::string& scope, std::uint64_t first, std::int64_t rows) {
    at::Tensor noise = at::empty({rows, shape[0], shape[1], shape[2]}, at::kFloat);
    float* row = noise.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < rows; ++i, row += values) {
      seeds.stream(purpose, scope, first + static_cast<std::uint64_t>(i))
          .fill_normal({row, static_cast<std::size_t>(values)});
    }
    return noise;
  };
  InitialNoise initial;
  initial.noise = draw("sample_noise", "", first_counter, count);
  initial.step_noise = [draw, first_counter](std::size_t step, std::int64_t first, std::int64_t rows) {
    return draw("sample_step_noise", std::to_string(step), first_counter + static_cast<std::uint64_t>(first), rows);
  };
  return initial;
}

at::Tensor sample_latents(const Denoiser& denoiser, const NoiseSchedule& schedule, const InitialNoise& initial,
                          const at::Tensor& text, const at::Tensor& empty_text, const SampleOptions& options) {
  const at::NoGradGuard no_grad;
  check_inputs(initial.noise, text, empty_text, options);
  const SamplingPlan plan = make_sampling_plan(schedule, options.sampler);
  const std::int64_t count = initial.noise.size(0);
  at::Tensor result = at::empty_like(initial.noise);
  for (std::int64_t first = 0; first < count; first += options.batch) {
    const std::int64_t size = std::min(options.batch, count - first);
    at::Tensor states = text.defined() ? rows(text, first, size) : text;
    if (options.guidance != 1.0) {
      states = at::cat({rows(empty_text, first, size), states});
    }
    at::Tensor sample = plan.initial_scale * initial.noise.narrow(0, first, size);
    at::Tensor previous;  // the image that the last step predicted
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      if (stop_requested()) {
        throw Interrupted("stopped while sampling; none of these images was kept");
      }
      const SamplingStep& step = plan.steps[i];
      const at::Tensor prediction = predict(denoiser, step.input_scale == 1.0 ? sample : step.input_scale * sample,
                                            step.timestep, states, options);
      at::Tensor next = at::add(step.from_sample * sample, prediction, step.from_prediction);
      if (step.from_previous != 0.0) {
        next.add_(previous, step.from_previous);
      }
      if (step.from_noise != 0.0) {
        next.add_(initial.step_noise(i, first, size).to(next.device()), step.from_noise);
      }
      if (i + 1 < plan.steps.size() && plan.steps[i + 1].from_previous != 0.0) {
        previous = at::add(step.clean_sample * sample, prediction, step.clean_prediction);
      }
      sample = std::move(next);
    }
    result.narrow(0, first, size).copy_(sample);
  }
  if (!at::isfinite(result).all().item<bool>()) {
    throw DataError("sampling",
                    fmt::format("ended in NaN or Inf after {} steps of {}", plan.steps.size(), options.sampler.sampler),
                    "the network's predictions overflow: did its training diverge, or is its prediction_type another?");
  }
  return result;
}

at::Tensor sample_latents(const DiffusionModel& model, const std::vector<std::string>& prompts,
                          const InitialNoise& initial, const SampleOptions& options) {
  const at::NoGradGuard no_grad;
  return sample_latents(denoiser_of(model), *model.schedule, {initial.noise.to(model.device()), initial.step_noise},
                        model.encode_text(prompts, nullptr, options.clip_skip),
                        model.encode_text({options.negative_prompt}, nullptr, options.clip_skip), options);
}

std::vector<Image> decode_images(const DiffusionModel& model, const at::Tensor& latents) {
  const at::NoGradGuard no_grad;
  // A decoder's inner images are a hundred times as large as the image it makes: one at a time.
  const std::int64_t batch = model.autoencoder->samples() ? 1 : std::max<std::int64_t>(1, latents.size(0));
  std::vector<Image> images;
  for (std::int64_t first = 0; first < latents.size(0); first += batch) {
    const at::Tensor part = latents.narrow(0, first, std::min(batch, latents.size(0) - first));
    std::ranges::move(to_images(model.autoencoder->decode(part)), std::back_inserter(images));
  }
  return images;
}

std::vector<Image> sample_images(const DiffusionModel& model, const std::vector<std::string>& prompts,
                                 const InitialNoise& initial, const SampleOptions& options) {
  return decode_images(model, sample_latents(model, prompts, initial, options));
}

}  // namespace soup
