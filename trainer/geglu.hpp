// GEGLU: a projection whose second half gates the first.
#pragma once

#include <ATen/core/Tensor.h>

namespace soup {

// projected[..., :H] * gelu(projected[..., H:]): [..., 2 H] -> [..., H] (Shazeer 2020, GEGLU). On a GPU one kernel each
// way, in float and bfloat16; PyTorch's operators otherwise. First derivatives only.
at::Tensor geglu(const at::Tensor& projected);

}  // namespace soup
