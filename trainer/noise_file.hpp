// Noise to begin sampling from, as a file: what another implementation is given too.
#pragma once

#include <cstdint>
#include <filesystem>

#include "trainer/sampler.hpp"

namespace soup {

// Tensor `noise` [images, channels, h, w] of a safetensors file and, where the sampler of `options` draws at its steps,
// `step_noise` [steps, images, channels, h, w]. Throws DataError where one is missing, of another shape, of integers,
// or holds NaN or Inf.
InitialNoise read_noise(const std::filesystem::path& path, std::int64_t images, const DiffusionModel& model,
                        const SampleOptions& options);

}  // namespace soup
