// Group normalisation, alone and followed by SiLU: the pair in front of every convolution of a U-Net, as one
// differentiable call.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace soup {

// silu(group_norm(image + shift)): image [N, C, H, W], shift [N, C] or undefined, weight and bias [C], groups dividing
// C. On the CPU in float32 one kernel of our own (group_norm_kernel.hpp) that reads the image twice instead of five
// times and keeps no intermediate for the backward pass; on a GPU those of group_norm_gpu.hpp; the result is
// channels-last. ATen's operators otherwise, and on the CPU without gradients for a few large images, among whose
// pixels ATen divides the threads. First derivatives only.
at::Tensor group_norm_silu(const at::Tensor& image, const at::Tensor& shift, const at::Tensor& weight,
                           const at::Tensor& bias, std::int64_t groups, double epsilon);
// group_norm(image): ATen's, and on a GPU those kernels.
at::Tensor group_norm(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias, std::int64_t groups,
                      double epsilon);

}  // namespace soup
