// Weights, gradients and optimizer state as flat buffers; a module's parameters become views of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor_layout.hpp"
#include "launch/communicator.hpp"

namespace torch::nn {
class Module;
}

namespace soup {

// The values of a contiguous float tensor in memory.
std::span<float> flat_span(at::Tensor& flat);

// A module that is trained, and its name before its parameters': "unet".
struct TrainedPart {
  std::string name;
  torch::nn::Module* module = nullptr;
};

// A run of the flat buffer that one optimizer call updates.
struct FlatSegment {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool decayed = false;  // with weight decay
  std::size_t part = 0;  // index into the parts
};

// The trainable parameters of some modules in one contiguous float buffer on their device: first those with weight
// decay (2 or more dimensions), then those without, so that the optimizer is a few fused calls on slices. Gradients are
// views of a second buffer.
class FlatState {
 public:
  // Names in the layout are "<part>.<parameter>". A parameter whose name matches one of the patterns `frozen` (core's
  // matches_pattern) is left as it is and gets no gradient. Throws ConfigError: a pattern that matches none, or all
  // frozen.
  explicit FlatState(const std::vector<TrainedPart>& parts, const std::vector<std::string>& frozen = {});

  [[nodiscard]] const TensorLayout& layout() const { return layout_; }
  [[nodiscard]] const std::vector<FlatSegment>& segments() const { return segments_; }
  [[nodiscard]] at::Tensor& weights() { return weights_; }      // [count] float
  [[nodiscard]] at::Tensor& gradients() { return gradients_; }  // [count] float
  [[nodiscard]] const at::Tensor& weights() const { return weights_; }
  [[nodiscard]] const at::Tensor& gradients() const { return gradients_; }
  // Views of the weights, in the layout's order.
  [[nodiscard]] const std::vector<at::Tensor>& parameters() const { return parameters_; }
  // Gradients become their sum over the group; through memory where they are on a GPU.
  void sum_gradients(Communicator& group);
  // Gradients of this norm (double [], on their device) scaled down to `limit` where they exceed it; a limit of 0 is
  // none.
  void scale_gradients(double limit, const at::Tensor& norm);
  // Name of the first tensor holding a NaN or Inf in `flat` ([count] float), or "".
  [[nodiscard]] std::string first_non_finite(const at::Tensor& flat) const;

 private:
  TensorLayout layout_;
  std::vector<FlatSegment> segments_;
  at::Tensor weights_;
  at::Tensor gradients_;
  std::vector<at::Tensor> parameters_;
};

}  // namespace soup
