// Transformer2DModel: self-attention over pixels, cross-attention to the text, gated feed-forward, in diffusers' names
// (Rombach et al. 2022, section 3.3 and appendix E.2.1).
#pragma once

#include "trainer/layers.hpp"

namespace soup {

// The transformers of one block of the U-Net.
struct TransformerOptions {
  std::int64_t heads = 0;          // 0: the block has none
  std::int64_t layers = 0;         // BasicTransformerBlocks in each
  std::int64_t context_width = 0;  // of the text states; 0: no cross-attention
  std::int64_t groups = 0;
  bool linear_projection = false;  // proj_in and proj_out are Linear (Stable Diffusion 2), not 1 x 1 convolutions (1.x)
  bool upcast = false;             // attention in float32 whatever the type of the weights, also under autocast
};

// Multi-head attention (Vaswani et al. 2017, section 3.2.2).
class Attention : public torch::nn::Module {
 public:
  // bias: queries, keys and values have biases, as in an AutoencoderKL.
  Attention(std::int64_t width, std::int64_t context_width, std::int64_t heads, bool upcast, bool bias = false);
  // tokens [N, L, width], context [N, M, context_width] -> [N, L, width].
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens, const at::Tensor& context) const;

 private:
  std::int64_t heads_;
  bool upcast_;
  std::shared_ptr<Linear> to_q_;
  std::shared_ptr<Linear> to_k_;
  std::shared_ptr<Linear> to_v_;
  std::shared_ptr<ModuleSequence<Linear>> to_out_;
};

class FeedForward;

class BasicTransformerBlock : public torch::nn::Module {
 public:
  BasicTransformerBlock(std::int64_t width, const TransformerOptions& options);
  // tokens [N, L, width], text [N, M, context_width] or undefined without cross-attention -> [N, L, width].
  [[nodiscard]] at::Tensor forward(at::Tensor tokens, const at::Tensor& text) const;

 private:
  std::shared_ptr<LayerNorm> norm1_;
  std::shared_ptr<Attention> attn1_;
  std::shared_ptr<LayerNorm> norm2_;  // null without cross-attention, as attn2
  std::shared_ptr<Attention> attn2_;
  std::shared_ptr<LayerNorm> norm3_;
  std::shared_ptr<FeedForward> ff_;
};

class Transformer2DModel : public torch::nn::Module {
 public:
  Transformer2DModel(std::int64_t channels, const TransformerOptions& options);
  // image [N, C, H, W], text as in BasicTransformerBlock -> [N, C, H, W].
  [[nodiscard]] at::Tensor forward(const at::Tensor& image, const at::Tensor& text) const;

 private:
  std::shared_ptr<GroupNorm> norm_;
  std::shared_ptr<Linear> linear_in_;
  std::shared_ptr<Conv2d> conv_in_;
  std::shared_ptr<ModuleSequence<BasicTransformerBlock>> blocks_;
  std::shared_ptr<Linear> linear_out_;
  std::shared_ptr<Conv2d> conv_out_;
};

}  // namespace soup
