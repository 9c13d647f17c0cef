// CLIPTextModel with transformers' parameter names (Radford et al. 2021, section 2.4; transformers' modeling_clip.py
// defines the names).
#pragma once

#include <torch/nn/module.h>

#include <memory>

#include "trainer/model_config.hpp"

namespace soup {

class CLIPTextModel : public torch::nn::Module {
 public:
  explicit CLIPTextModel(const TextEncoderConfig& config);
  ~CLIPTextModel() override;

  // ids [N, L] int64 -> last hidden state after the final layer norm [N, L, hidden_size]; causal attention.
  at::Tensor forward(const at::Tensor& ids);
  [[nodiscard]] const TextEncoderConfig& config() const;

 private:
  struct Blocks;
  TextEncoderConfig config_;
  std::unique_ptr<Blocks> blocks_;
};

}  // namespace soup
