// UNet2DConditionModel with diffusers' parameter names (Rombach et al. 2022; diffusers'
// models/unets/unet_2d_condition.py defines the names).
#pragma once

#include <torch/nn/module.h>

#include <memory>

#include "trainer/unet_config.hpp"

namespace soup {

class UNet2DConditionModel : public torch::nn::Module {
 public:
  explicit UNet2DConditionModel(const UNetConfig& config);
  ~UNet2DConditionModel() override;

  // sample [N, in_channels, H, W], timesteps [N] (int64 or float), text [N, L, cross_attention_dim] -> [N,
  // out_channels, H, W]. A network that takes no text (UNetConfig::takes_text) does not look at `text`, which may then
  // be undefined.
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const at::Tensor& text);
  [[nodiscard]] const UNetConfig& config() const;
  // Whether the blocks' activations are forgotten and computed again in the backward pass: a third more time for a
  // fraction of the memory.
  void recompute_activations(bool recompute) { recompute_ = recompute; }

 private:
  struct Blocks;
  UNetConfig config_;
  bool recompute_ = false;
  std::unique_ptr<Blocks> blocks_;
};

}  // namespace soup
