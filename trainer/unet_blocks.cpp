// The U-Net's building blocks. Children are registered in diffusers' order: it is the order of the flat weights.
#include "trainer/unet_blocks.hpp"

#include <ATen/ATen.h>

#include "trainer/recompute.hpp"

namespace soup {
namespace {

// A residual block and the transformer behind it, if there is one.
at::Tensor forward_layer(const ResnetBlock2D& resnet, const Transformer2DModel* transformer, const at::Tensor& image,
                         const Conditioning& conditioning) {
  const auto body = [&resnet, transformer](const std::vector<at::Tensor>& inputs) {
    const at::Tensor output = resnet.forward(inputs[0], inputs[1]);
    return transformer != nullptr ? transformer->forward(output, inputs[2]) : output;
  };
  const std::vector<at::Tensor> inputs = {image, conditioning.time, conditioning.text};
  return conditioning.recompute ? recomputed(body, inputs) : body(inputs);
}

}  // namespace

ResnetBlock2D::ResnetBlock2D(std::int64_t in, std::int64_t out, const BlockOptions& options) {
  norm1_ = register_module("norm1", std::make_shared<GroupNorm>(options.groups, in, options.norm_epsilon));
  conv1_ = register_module("conv1", std::make_shared<Conv2d>(in, out, 3));
  if (options.time_width > 0) {
    time_emb_proj_ = register_module("time_emb_proj", std::make_shared<Linear>(options.time_width, out));
  }
  norm2_ = register_module("norm2", std::make_shared<GroupNorm>(options.groups, out, options.norm_epsilon));
  conv2_ = register_module("conv2", std::make_shared<Conv2d>(out, out, 3));
  if (in != out) {
    conv_shortcut_ = register_module("conv_shortcut", std::make_shared<Conv2d>(in, out, 1));
  }
}

at::Tensor ResnetBlock2D::forward(const at::Tensor& image, const at::Tensor& time) const {
  at::Tensor hidden = conv1_->forward(norm1_->forward_silu(image));
  const at::Tensor shift = time_emb_proj_ ? time_emb_proj_->forward(time) : at::Tensor();
  hidden = conv2_->forward(norm2_->forward_silu(hidden, shift));
  return (conv_shortcut_ ? conv_shortcut_->forward(image) : image) + hidden;
}

class Resampler : public torch::nn::Module {
 public:
  Resampler(std::int64_t channels, std::int64_t stride) {
    conv_ = register_module("conv", std::make_shared<Conv2d>(channels, channels, 3, stride));
  }
  [[nodiscard]] at::Tensor forward(const at::Tensor& image) const { return conv_->forward(image); }

 private:
  std::shared_ptr<Conv2d> conv_;
};

DownBlock::DownBlock(std::int64_t in, std::int64_t out, std::int64_t layers, const TransformerOptions& transformers,
                     bool downsample, const BlockOptions& options) {
  if (transformers.heads > 0) {
    attentions_ = register_module("attentions", std::make_shared<ModuleSequence<Transformer2DModel>>());
  }
  resnets_ = register_module("resnets", std::make_shared<ModuleSequence<ResnetBlock2D>>());
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    resnets_->append(std::make_shared<ResnetBlock2D>(layer == 0 ? in : out, out, options));
    if (transformers.heads > 0) {
      attentions_->append(std::make_shared<Transformer2DModel>(out, transformers));
    }
  }
  if (downsample) {
    downsamplers_ = register_module("downsamplers", std::make_shared<ModuleSequence<Resampler>>());
    downsamplers_->append(std::make_shared<Resampler>(out, 2));
  }
}

at::Tensor DownBlock::forward(at::Tensor image, const Conditioning& conditioning,
                              std::vector<at::Tensor>& skips) const {
  for (std::size_t layer = 0; layer < resnets_->size(); ++layer) {
    image = forward_layer((*resnets_)[layer], attentions_ ? &(*attentions_)[layer] : nullptr, image, conditioning);
    skips.push_back(image);
  }
  if (downsamplers_) {
    image = (*downsamplers_)[0].forward(image);
    skips.push_back(image);
  }
  return image;
}

MidBlock::MidBlock(std::int64_t channels, const TransformerOptions& transformers, const BlockOptions& options) {
  if (transformers.heads > 0) {
    attentions_ = register_module("attentions", std::make_shared<ModuleSequence<Transformer2DModel>>());
    attentions_->append(std::make_shared<Transformer2DModel>(channels, transformers));
  }
  resnets_ = register_module("resnets", std::make_shared<ModuleSequence<ResnetBlock2D>>());
  resnets_->append(std::make_shared<ResnetBlock2D>(channels, channels, options));
  if (transformers.heads > 0) {
    resnets_->append(std::make_shared<ResnetBlock2D>(channels, channels, options));
  }
}

at::Tensor MidBlock::forward(at::Tensor image, const Conditioning& conditioning) const {
  image = forward_layer((*resnets_)[0], attentions_ ? &(*attentions_)[0] : nullptr, image, conditioning);
  return attentions_ ? forward_layer((*resnets_)[1], nullptr, image, conditioning) : image;
}

UpBlock::UpBlock(std::int64_t in, std::int64_t out, const std::vector<std::int64_t>& skip_channels,
                 const TransformerOptions& transformers, bool upsample, const BlockOptions& options) {
  if (transformers.heads > 0) {
    attentions_ = register_module("attentions", std::make_shared<ModuleSequence<Transformer2DModel>>());
  }
  resnets_ = register_module("resnets", std::make_shared<ModuleSequence<ResnetBlock2D>>());
  for (std::size_t layer = 0; layer < skip_channels.size(); ++layer) {
    resnets_->append(std::make_shared<ResnetBlock2D>((layer == 0 ? in : out) + skip_channels[layer], out, options));
    if (transformers.heads > 0) {
      attentions_->append(std::make_shared<Transformer2DModel>(out, transformers));
    }
  }
  if (upsample) {
    upsamplers_ = register_module("upsamplers", std::make_shared<ModuleSequence<Resampler>>());
    upsamplers_->append(std::make_shared<Resampler>(out, 1));
  }
}

at::Tensor UpBlock::forward(at::Tensor image, const Conditioning& conditioning, std::vector<at::Tensor>& skips) const {
  for (std::size_t layer = 0; layer < resnets_->size(); ++layer) {
    const at::Tensor joined = at::cat({image, skips.back()}, 1);
    skips.pop_back();
    image = forward_layer((*resnets_)[layer], attentions_ ? &(*attentions_)[layer] : nullptr, joined, conditioning);
  }
  if (upsamplers_) {
    // Twice the size, except where a stride-2 convolution had rounded an odd size up.
    const at::Tensor& next = skips.back();
    image = (*upsamplers_)[0].forward(at::upsample_nearest2d(image, {next.size(2), next.size(3)}));
  }
  return image;
}

}  // namespace soup
