// CLIPTextModel with transformers' parameter names (Radford et al. 2021, section 2.4; transformers' modeling_clip.py
// defines the names).
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <memory>

#include "trainer/text_encoder_config.hpp"

namespace soup {

class CLIPTextModel : public torch::nn::Module {
 public:
  explicit CLIPTextModel(const TextEncoderConfig& config);
  ~CLIPTextModel() override;

  // ids [N, L] int64 -> hidden state after the final layer norm [N, L, hidden_size]; causal attention. clip_skip, as
  // users count it: 1 is the last layer's state, 2 the one before (kohya's and AUTOMATIC1111's meaning; one more than
  // that of diffusers' pipelines). Throws ConfigError where there are fewer layers.
  at::Tensor forward(const at::Tensor& ids, std::int64_t clip_skip = 1);
  [[nodiscard]] const TextEncoderConfig& config() const;

 private:
  struct Blocks;
  TextEncoderConfig config_;
  std::unique_ptr<Blocks> blocks_;
};

}  // namespace soup
