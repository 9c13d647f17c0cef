// Group normalisation and SiLU in one pass over memory, on the CPU. No torch.
#pragma once

#include <cstdint>

namespace soup {

// [N, H, W, C] floats: images whose channels lie side by side, as at::MemoryFormat::ChannelsLast stores them.
struct NormShape {
  std::int64_t channels = 0;
  std::int64_t pixels = 0;  // H * W
  std::int64_t groups = 0;  // divides channels
};

struct NormInput {
  const float* image = nullptr;   // [N, pixels, channels]
  const float* shift = nullptr;   // [N, channels], added to every pixel before normalising; null: nothing
  const float* weight = nullptr;  // [channels]
  const float* bias = nullptr;    // [channels]
};

// For images begin ... end - 1:
//   y = silu(weight * (x - mean) * inverse_deviation + bias), x = image + shift, silu(z) = z / (1 + exp(-z)),
// mean and variance over a group's channels and all pixels (Wu and He 2018, equations 1 and 2). Writes output
// [N, pixels, channels], mean and inverse_deviation [N, groups].
void group_norm_silu(const NormShape& shape, const NormInput& input, double epsilon, std::int64_t begin,
                     std::int64_t end, float* output, float* mean, float* inverse_deviation);

struct NormGradients {
  float* image = nullptr;   // [N, pixels, channels]
  float* shift = nullptr;   // [N, channels]; null: not wanted
  float* weight = nullptr;  // [N, channels]: each image's part, to be summed
  float* bias = nullptr;    // [N, channels]: likewise
};

// The gradients of a loss whose gradient by the output is `output_gradient` [N, pixels, channels].
void group_norm_silu_backward(const NormShape& shape, const NormInput& input, const float* mean,
                              const float* inverse_deviation, const float* output_gradient, std::int64_t begin,
                              std::int64_t end, const NormGradients& gradients);

}  // namespace soup
