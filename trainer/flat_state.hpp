// Weights, gradients and optimizer state as flat buffers; a module's parameters become views of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor_layout.hpp"

namespace torch::nn {
class Module;
}

namespace soup {

// The values of a contiguous float tensor.
std::span<float> flat_span(at::Tensor& flat);

// The trainable parameters of some modules in one contiguous float buffer: first those with weight decay (2 or more
// dimensions), then those without, so that the optimizer is two fused calls on slices. Gradients are views of a second
// buffer.
class FlatState {
 public:
  // parts: (prefix, module), e.g. ("unet", unet). Names in the layout are "<prefix>.<parameter>".
  explicit FlatState(const std::vector<std::pair<std::string, torch::nn::Module*>>& parts);

  [[nodiscard]] const TensorLayout& layout() const { return layout_; }
  [[nodiscard]] std::uint64_t decayed_count() const { return decayed_count_; }
  [[nodiscard]] at::Tensor& weights() { return weights_; }      // [count] float
  [[nodiscard]] at::Tensor& gradients() { return gradients_; }  // [count] float
  [[nodiscard]] const at::Tensor& weights() const { return weights_; }
  [[nodiscard]] const at::Tensor& gradients() const { return gradients_; }
  [[nodiscard]] std::span<float> weight_span();
  [[nodiscard]] std::span<float> gradient_span();
  // Gradients of this norm scaled down to `limit` where they exceed it; a limit of 0 is none.
  void scale_gradients(double limit, double norm);
  // Name of the first tensor holding a NaN or Inf in `flat` ([count] float), or "".
  [[nodiscard]] std::string first_non_finite(const at::Tensor& flat) const;

 private:
  TensorLayout layout_;
  std::uint64_t decayed_count_ = 0;
  at::Tensor weights_;
  at::Tensor gradients_;
};

}  // namespace soup
