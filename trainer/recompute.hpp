// Activation checkpointing: what a block computes on the way is forgotten and computed again for its gradients (Chen et
// al. 2016).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace soup {

// body(inputs), keeping only `inputs` for the backward pass. The body must compute the same each time it is called; the
// gradients of parameters it uses are added to them as always. Undefined inputs are passed on. Autocast is restored.
// First derivatives only.
at::Tensor recomputed(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& body,
                      const std::vector<at::Tensor>& inputs);

}  // namespace soup
