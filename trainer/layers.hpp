// The few layers all networks here are built of, with PyTorch's parameter names and order. Parameters are born
// uninitialised: trainer/initialise.hpp or a file fills them, so that no global generator is ever touched.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace soup {

// Children named "0", "1", ... as PyTorch's ModuleList names them.
template <class Item>
class ModuleSequence : public torch::nn::Module {
 public:
  void append(std::shared_ptr<Item> item) {
    items_.push_back(register_module(std::to_string(items_.size()), std::move(item)));
  }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }
  [[nodiscard]] std::size_t size() const { return items_.size(); }
  Item& operator[](std::size_t index) const { return *items_[index]; }

 private:
  std::vector<std::shared_ptr<Item>> items_;
};

// [..., in] -> [..., out].
class Linear : public torch::nn::Module {
 public:
  Linear(std::int64_t in, std::int64_t out, bool bias = true);
  at::Tensor forward(const at::Tensor& input) const;

 private:
  at::Tensor weight_;  // [out, in]
  at::Tensor bias_;    // [out], or undefined
};

// [N, in, H, W] -> [N, out, H', W'] with zero padding on every side, (kernel - 1) / 2 unless said.
class Conv2d : public torch::nn::Module {
 public:
  Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1);
  Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t padding);
  at::Tensor forward(const at::Tensor& input) const;
  // For a 1 x 1 kernel: the same map on tokens [N, L, in] -> [N, L, out].
  [[nodiscard]] at::Tensor forward_tokens(const at::Tensor& tokens) const;

 private:
  at::Tensor weight_;  // [out, in, kernel, kernel]
  at::Tensor bias_;    // [out]
  std::int64_t stride_;
  std::int64_t padding_;
};

// Normalises [N, C, H, W] within `groups` groups of channels (Wu and He 2018).
class GroupNorm : public torch::nn::Module {
 public:
  GroupNorm(std::int64_t groups, std::int64_t channels, double epsilon);
  at::Tensor forward(const at::Tensor& input) const;
  // SiLU of the normalised input + shift, shift [N, C] or undefined.
  [[nodiscard]] at::Tensor forward_silu(const at::Tensor& input, const at::Tensor& shift = {}) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  std::int64_t groups_;
  double epsilon_;
};

// Normalises the last dimension (Ba et al. 2016).
class LayerNorm : public torch::nn::Module {
 public:
  LayerNorm(std::int64_t channels, double epsilon);
  at::Tensor forward(const at::Tensor& input) const;

 private:
  at::Tensor weight_;
  at::Tensor bias_;
  std::int64_t channels_;
  double epsilon_;
};

// Rows of a table: ids [...] int64 -> [..., width].
class Embedding : public torch::nn::Module {
 public:
  Embedding(std::int64_t rows, std::int64_t width);
  at::Tensor forward(const at::Tensor& ids) const;
  [[nodiscard]] const at::Tensor& weight() const { return weight_; }

 private:
  at::Tensor weight_;  // [rows, width]
};

}  // namespace soup
