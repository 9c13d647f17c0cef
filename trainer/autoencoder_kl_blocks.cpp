// The encoder and the decoder of an AutoencoderKL. Children are registered in diffusers' order.
#include "trainer/autoencoder_kl_blocks.hpp"

#include <ATen/ATen.h>

#include "trainer/attention.hpp"

namespace soup {
namespace {

// diffusers builds every part of an AutoencoderKL with this, whatever its U-Net's norm_eps says.
constexpr double autoencoder_norm_epsilon = 1e-6;

BlockOptions block_options(const AutoencoderKLConfig& config) {
  return {.time_width = 0, .groups = config.norm_num_groups, .norm_epsilon = autoencoder_norm_epsilon};
}

std::shared_ptr<GroupNorm> make_norm(const AutoencoderKLConfig& config, std::int64_t channels) {
  return std::make_shared<GroupNorm>(config.norm_num_groups, channels, autoencoder_norm_epsilon);
}

// "attentions.0" of a mid block: attention of one head among all pixels, added to the image.
class PixelAttention : public Attention {
 public:
  PixelAttention(const AutoencoderKLConfig& config, std::int64_t channels)
      : Attention(channels, channels, /*heads=*/1, /*upcast=*/true, /*bias=*/true),
        group_norm_(register_module("group_norm", make_norm(config, channels))) {}
  [[nodiscard]] at::Tensor forward(const at::Tensor& image) const {
    const at::Tensor tokens = group_norm_->forward(image).permute({0, 2, 3, 1}).flatten(1, 2);
    const at::Tensor attended = Attention::forward(tokens, tokens);
    return image + attended.unflatten(1, {image.size(2), image.size(3)}).permute({0, 3, 1, 2});
  }

 private:
  std::shared_ptr<GroupNorm> group_norm_;
};

// "downsamplers.0": a convolution with stride 2 whose padding is one row and one column at the end only.
class KLDownsampler : public torch::nn::Module {
 public:
  explicit KLDownsampler(std::int64_t channels)
      : conv_(register_module("conv", std::make_shared<Conv2d>(channels, channels, 3, 2, /*padding=*/0))) {}
  [[nodiscard]] at::Tensor forward(const at::Tensor& image) const {
    return conv_->forward(at::constant_pad_nd(image, {0, 1, 0, 1}).contiguous(at::MemoryFormat::ChannelsLast));
  }

 private:
  std::shared_ptr<Conv2d> conv_;
};

class KLUpsampler : public torch::nn::Module {
 public:
  explicit KLUpsampler(std::int64_t channels)
      : conv_(register_module("conv", std::make_shared<Conv2d>(channels, channels, 3))) {}
  [[nodiscard]] at::Tensor forward(const at::Tensor& image) const {
    return conv_->forward(at::upsample_nearest2d(image, {2 * image.size(2), 2 * image.size(3)}));
  }

 private:
  std::shared_ptr<Conv2d> conv_;
};

}  // namespace

// UNetMidBlock2D.
class KLMidBlock : public torch::nn::Module {
 public:
  explicit KLMidBlock(const AutoencoderKLConfig& config) {
    const std::int64_t channels = config.block_out_channels.back();
    if (config.mid_block_add_attention) {
      attentions_ = register_module("attentions", std::make_shared<ModuleSequence<PixelAttention>>());
      attentions_->append(std::make_shared<PixelAttention>(config, channels));
    }
    resnets_ = register_module("resnets", std::make_shared<ModuleSequence<ResnetBlock2D>>());
    for (int i = 0; i < 2; ++i) {
      resnets_->append(std::make_shared<ResnetBlock2D>(channels, channels, block_options(config)));
    }
  }
  [[nodiscard]] at::Tensor forward(at::Tensor image) const {
    image = (*resnets_)[0].forward(image, {});
    if (attentions_) {
      image = (*attentions_)[0].forward(image);
    }
    return (*resnets_)[1].forward(image, {});
  }

 private:
  std::shared_ptr<ModuleSequence<PixelAttention>> attentions_;
  std::shared_ptr<ModuleSequence<ResnetBlock2D>> resnets_;
};

// DownEncoderBlock2D.
class KLDownBlock : public torch::nn::Module {
 public:
  KLDownBlock(std::int64_t in, std::int64_t out, bool downsample, const AutoencoderKLConfig& config) {
    resnets_ = register_module("resnets", std::make_shared<ModuleSequence<ResnetBlock2D>>());
    for (std::int64_t layer = 0; layer < config.layers_per_block; ++layer) {
      resnets_->append(std::make_shared<ResnetBlock2D>(layer == 0 ? in : out, out, block_options(config)));
    }
    if (downsample) {
      downsamplers_ = register_module("downsamplers", std::make_shared<ModuleSequence<KLDownsampler>>());
      downsamplers_->append(std::make_shared<KLDownsampler>(out));
    }
  }
  [[nodiscard]] at::Tensor forward(at::Tensor image) const {
    for (const auto& resnet : *resnets_) {
      image = resnet->forward(image, {});
    }
    return downsamplers_ ? (*downsamplers_)[0].forward(image) : image;
  }

 private:
  std::shared_ptr<ModuleSequence<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSequence<KLDownsampler>> downsamplers_;
};

// UpDecoderBlock2D.
class KLUpBlock : public torch::nn::Module {
 public:
  KLUpBlock(std::int64_t in, std::int64_t out, bool upsample, const AutoencoderKLConfig& config) {
    resnets_ = register_module("resnets", std::make_shared<ModuleSequence<ResnetBlock2D>>());
    for (std::int64_t layer = 0; layer <= config.layers_per_block; ++layer) {
      resnets_->append(std::make_shared<ResnetBlock2D>(layer == 0 ? in : out, out, block_options(config)));
    }
    if (upsample) {
      upsamplers_ = register_module("upsamplers", std::make_shared<ModuleSequence<KLUpsampler>>());
      upsamplers_->append(std::make_shared<KLUpsampler>(out));
    }
  }
  [[nodiscard]] at::Tensor forward(at::Tensor image) const {
    for (const auto& resnet : *resnets_) {
      image = resnet->forward(image, {});
    }
    return upsamplers_ ? (*upsamplers_)[0].forward(image) : image;
  }

 private:
  std::shared_ptr<ModuleSequence<ResnetBlock2D>> resnets_;
  std::shared_ptr<ModuleSequence<KLUpsampler>> upsamplers_;
};

KLEncoder::KLEncoder(const AutoencoderKLConfig& config) {
  const std::vector<std::int64_t>& channels = config.block_out_channels;
  conv_in_ = register_module("conv_in", std::make_shared<Conv2d>(config.in_channels, channels.front(), 3));
  down_blocks_ = register_module("down_blocks", std::make_shared<ModuleSequence<KLDownBlock>>());
  for (std::size_t level = 0; level < channels.size(); ++level) {
    down_blocks_->append(std::make_shared<KLDownBlock>(channels[level == 0 ? 0 : level - 1], channels[level],
                                                       level + 1 < channels.size(), config));
  }
  mid_block_ = register_module("mid_block", std::make_shared<KLMidBlock>(config));
  conv_norm_out_ = register_module("conv_norm_out", make_norm(config, channels.back()));
  conv_out_ = register_module("conv_out", std::make_shared<Conv2d>(channels.back(), 2 * config.latent_channels, 3));
}

at::Tensor KLEncoder::forward(const at::Tensor& images) const {
  // Channels last: convolutions need no reordering.
  at::Tensor image = conv_in_->forward(images.contiguous(at::MemoryFormat::ChannelsLast));
  for (const auto& block : *down_blocks_) {
    image = block->forward(std::move(image));
  }
  image = mid_block_->forward(std::move(image));
  return conv_out_->forward(conv_norm_out_->forward_silu(image));
}

KLDecoder::KLDecoder(const AutoencoderKLConfig& config) {
  const std::vector<std::int64_t>& channels = config.block_out_channels;
  conv_in_ = register_module("conv_in", std::make_shared<Conv2d>(config.latent_channels, channels.back(), 3));
  up_blocks_ = register_module("up_blocks", std::make_shared<ModuleSequence<KLUpBlock>>());
  std::int64_t below = channels.back();
  for (std::size_t level = channels.size(); level-- > 0;) {
    up_blocks_->append(std::make_shared<KLUpBlock>(below, channels[level], level > 0, config));
    below = channels[level];
  }
  mid_block_ = register_module("mid_block", std::make_shared<KLMidBlock>(config));
  conv_norm_out_ = register_module("conv_norm_out", make_norm(config, channels.front()));
  conv_out_ = register_module("conv_out", std::make_shared<Conv2d>(channels.front(), config.out_channels, 3));
}

at::Tensor KLDecoder::forward(const at::Tensor& latents) const {
  at::Tensor image = mid_block_->forward(conv_in_->forward(latents.contiguous(at::MemoryFormat::ChannelsLast)));
  for (const auto& block : *up_blocks_) {
    image = block->forward(std::move(image));
  }
  return conv_out_->forward(conv_norm_out_->forward_silu(image));
}

}  // namespace soup
