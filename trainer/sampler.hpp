// Sampling: from noise and text to latents and images, by any of the plans of sampling_plan.hpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/image.hpp"
#include "trainer/model.hpp"
#include "trainer/sampling_plan.hpp"

namespace soup {

// Predicts noise, v or the image for a batch of latents: [N,C,H,W], timestep, text states -> same shape. What a sampler
// needs of a model (or of an ensemble).
using Denoiser = std::function<at::Tensor(const at::Tensor& latents, double timestep, const at::Tensor& text)>;

// The fresh noise that a sampler with random steps adds after step `step` to latents first ... first + count - 1: as
// the latents, standard normal.
using StepNoise = std::function<at::Tensor(std::size_t step, std::int64_t first, std::int64_t count)>;

// Where latents begin. `step_noise` may be empty with samplers that draw none.
struct InitialNoise {
  at::Tensor noise = {};  // [N, C, H, W], standard normal
  StepNoise step_noise = {};
};

// The model's own denoiser.
Denoiser denoiser_of(const DiffusionModel& model);

// Noise for prompt i: stream("sample_noise", "", first_counter + i), so every model is given the same; of its steps
// stream("sample_step_noise", "<step>", first_counter + i). Latents for images of height x width pixels; throws
// ConfigError where the autoencoder has none for them.
InitialNoise sample_noise(const DiffusionModel& model, SeedTree seeds, std::uint64_t first_counter, std::int64_t count,
                          std::int64_t height, std::int64_t width);

// Final latents, on the device of the initial noise, as the texts and the denoiser. text / empty_text: [N, L, D], the
// second also [1, L, D]; both undefined for an unconditional denoiser, which needs guidance 1. Guidance: Ho and
// Salimans 2022, eq. 6 with diffusers' scale; its rescaling: Lin et al. 2024, eqs. 14 to 16. Throws Interrupted at the
// next step after a stop signal, and DataError where latents end in NaN or Inf.
at::Tensor sample_latents(const Denoiser& denoiser, const NoiseSchedule& schedule, const InitialNoise& initial,
                          const at::Tensor& text, const at::Tensor& empty_text, const SampleOptions& options);

// Prompts to latents and to images with one model, on its device; `initial` as from sample_noise.
at::Tensor sample_latents(const DiffusionModel& model, const std::vector<std::string>& prompts,
                          const InitialNoise& initial, const SampleOptions& options);
std::vector<Image> sample_images(const DiffusionModel& model, const std::vector<std::string>& prompts,
                                 const InitialNoise& initial, const SampleOptions& options);
// Latents [N, C, h, w] to images.
std::vector<Image> decode_images(const DiffusionModel& model, const at::Tensor& latents);

}  // namespace soup
