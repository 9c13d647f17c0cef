// DDIM sampling with classifier-free guidance.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/random.hpp"
#include "data/image.hpp"
#include "trainer/model.hpp"

namespace soup {

struct SampleOptions {
  std::int64_t steps = 25;
  double guidance = 3.0;  // 1: no guidance (one forward pass a step)
  std::int64_t batch = 32;
};

// Predicts noise or v for a batch of latents: [N,C,H,W], timestep, text states -> same shape. What a sampler needs of a
// model (or of an ensemble).
using Denoiser = std::function<at::Tensor(const at::Tensor& latents, std::int64_t timestep, const at::Tensor& text)>;

// Initial noise for prompt i: stream("sample_noise", "", first_counter + i), so every model is given the same. [N, C,
// H, W] latents.
at::Tensor sample_noise(const DiffusionModel& model, SeedTree seeds, std::uint64_t first_counter, std::int64_t count,
                        std::int64_t resolution);

// DDIM, eta = 0 (Song et al. 2021, eq. 12), final latents. text / empty_text: [N, L, D]. Throws Interrupted at the next
// step after a stop signal.
at::Tensor ddim(const Denoiser& denoiser, const NoiseSchedule& schedule, const at::Tensor& noise,
                const at::Tensor& text, const at::Tensor& empty_text, const SampleOptions& options);

// Prompts to images with one model; `noise` as from sample_noise.
std::vector<Image> sample_images(const DiffusionModel& model, const std::vector<std::string>& prompts,
                                 const at::Tensor& noise, const SampleOptions& options);
// uint8 [N, H, W, C] <-> float [N, C, H, W] in [-1, 1].
std::vector<Image> to_images(const at::Tensor& pixels);
at::Tensor to_tensor(const std::vector<Image>& images);

}  // namespace soup
