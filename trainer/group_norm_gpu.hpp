// Group normalisation, with SiLU or without, on a GPU, as one differentiable call.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace soup {

// silu(group_norm(image + shift)), or without the silu: image [N, C, H, W] float or bfloat16 on a GPU, shift [N, C] or
// undefined, weight and bias float [C]. The result has the image's type and is channels-last; sums are float. PyTorch's
// own group norm knows no channels-last on a GPU: it would copy the image there and back. First derivatives only.
at::Tensor group_norm_on_gpu(const at::Tensor& image, const at::Tensor& shift, const at::Tensor& weight,
                             const at::Tensor& bias, std::int64_t groups, double epsilon, bool silu);

}  // namespace soup
