// The U-Net's building blocks: residual blocks, down, middle and up blocks in diffusers' names.
#pragma once

#include <string>
#include <vector>

#include "trainer/attention.hpp"
#include "trainer/layers.hpp"

namespace soup {

// What all residual blocks of one network share.
struct BlockOptions {
  std::int64_t time_width = 0;  // width of the time embedding; 0: none, as in an AutoencoderKL
  std::int64_t groups = 0;
  double norm_epsilon = 0.0;
};

// What every block is given besides the image: the activated time embedding [N, time_width] and the text [N, L,
// context_width], undefined where the network takes none.
struct Conditioning {
  at::Tensor time;
  at::Tensor text;
  bool recompute = false;  // whether blocks forget their activations until the backward pass (trainer/recompute.hpp)
};

class ResnetBlock2D : public torch::nn::Module {
 public:
  ResnetBlock2D(std::int64_t in, std::int64_t out, const BlockOptions& options);
  // image [N, in, H, W], time [N, time_width] (already through SiLU; undefined without one) -> [N, out, H, W].
  [[nodiscard]] at::Tensor forward(const at::Tensor& image, const at::Tensor& time) const;

 private:
  std::shared_ptr<GroupNorm> norm1_;
  std::shared_ptr<Conv2d> conv1_;
  std::shared_ptr<Linear> time_emb_proj_;  // null without a time embedding
  std::shared_ptr<GroupNorm> norm2_;
  std::shared_ptr<Conv2d> conv2_;
  std::shared_ptr<Conv2d> conv_shortcut_;  // null when in == out
};

// "downsamplers.0" and "upsamplers.0": one convolution named conv.
class Resampler;

// DownBlock2D, or CrossAttnDownBlock2D when it has transformers.
class DownBlock : public torch::nn::Module {
 public:
  DownBlock(std::int64_t in, std::int64_t out, std::int64_t layers, const TransformerOptions& transformers,
            bool downsample, const BlockOptions& options);
  // Appends every intermediate image that the matching up block takes back to `skips`.
  [[nodiscard]] at::Tensor forward(at::Tensor image, const Conditioning& conditioning,
                                   std::vector<at::Tensor>& skips) const;

 private:
  std::shared_ptr<ModuleSequence<Transformer2DModel>> attentions_;
  std::shared_ptr<ModuleSequence<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSequence<Resampler>> downsamplers_;
};

// UNetMidBlock2DCrossAttn, or UNetMidBlock2D (one residual block alone) without transformers.
class MidBlock : public torch::nn::Module {
 public:
  MidBlock(std::int64_t channels, const TransformerOptions& transformers, const BlockOptions& options);
  [[nodiscard]] at::Tensor forward(at::Tensor image, const Conditioning& conditioning) const;

 private:
  std::shared_ptr<ModuleSequence<Transformer2DModel>> attentions_;
  std::shared_ptr<ModuleSequence<ResnetBlock2D>> resnets_;
};

// UpBlock2D, or CrossAttnUpBlock2D when it has transformers.
class UpBlock : public torch::nn::Module {
 public:
  // in: channels from the block below; skip_channels: of each skip, in the order taken.
  UpBlock(std::int64_t in, std::int64_t out, const std::vector<std::int64_t>& skip_channels,
          const TransformerOptions& transformers, bool upsample, const BlockOptions& options);
  // Takes its skips from the back of `skips`, and grows the image to the size of the next one there.
  [[nodiscard]] at::Tensor forward(at::Tensor image, const Conditioning& conditioning,
                                   std::vector<at::Tensor>& skips) const;

 private:
  std::shared_ptr<ModuleSequence<Transformer2DModel>> attentions_;
  std::shared_ptr<ModuleSequence<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSequence<Resampler>> upsamplers_;
};

}  // namespace soup
