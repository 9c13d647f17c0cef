// Transformer2DModel, computed on tokens throughout: with a channels-last image the change of layout is a view.
#include "trainer/attention.hpp"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "trainer/geglu.hpp"

namespace soup {
namespace {

constexpr double layer_norm_epsilon = 1e-5;
// diffusers' Transformer2DModel normalises with 1e-6 whatever norm_eps says.
constexpr double transformer_norm_epsilon = 1e-6;

// [N, L, heads * d] -> [N, heads, L, d], a view.
at::Tensor split_heads(const at::Tensor& tokens, std::int64_t heads) {
  return tokens.unflatten(-1, {heads, -1}).transpose(1, 2);
}

// In float32, whatever the inputs' type and autocast say: queries times keys overflow float16 in Stable Diffusion 2.1.
at::Tensor attend_in_float(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const at::Tensor attended =
      at::scaled_dot_product_attention(queries.to(at::kFloat), keys.to(at::kFloat), values.to(at::kFloat));
  return attended.to(values.scalar_type());
}

// "ff.net.0": a projection to twice the width whose second half gates the first (Shazeer 2020, GEGLU).
class Geglu : public torch::nn::Module {
 public:
  Geglu(std::int64_t in, std::int64_t out) : proj_(register_module("proj", std::make_shared<Linear>(in, 2 * out))) {}
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens) const { return geglu(proj_->forward(tokens)); }

 private:
  std::shared_ptr<Linear> proj_;
};

}  // namespace

Attention::Attention(std::int64_t width, std::int64_t context_width, std::int64_t heads, bool upcast, bool bias)
    : heads_(heads), upcast_(upcast) {
  to_q_ = register_module("to_q", std::make_shared<Linear>(width, width, bias));
  to_k_ = register_module("to_k", std::make_shared<Linear>(context_width, width, bias));
  to_v_ = register_module("to_v", std::make_shared<Linear>(context_width, width, bias));
  to_out_ = register_module("to_out", std::make_shared<ModuleSequence<Linear>>());
  to_out_->append(std::make_shared<Linear>(width, width));
}

at::Tensor Attention::forward(const at::Tensor& tokens, const at::Tensor& context) const {
  const at::Tensor queries = split_heads(to_q_->forward(tokens), heads_);
  const at::Tensor keys = split_heads(to_k_->forward(context), heads_);
  const at::Tensor values = split_heads(to_v_->forward(context), heads_);
  const bool narrow = queries.scalar_type() == at::kHalf || queries.scalar_type() == at::kBFloat16;
  const at::Tensor attended = upcast_ && narrow ? attend_in_float(queries, keys, values)
                                                : at::scaled_dot_product_attention(queries, keys, values);
  return (*to_out_)[0].forward(attended.transpose(1, 2).flatten(2));
}

class FeedForward : public torch::nn::Module {
 public:
  explicit FeedForward(std::int64_t width) {
    // diffusers keeps both layers in one list with a dropout (no parameters) between: "net.0.proj" and "net.2".
    net_ = register_module("net", std::make_shared<torch::nn::Module>("net"));
    gate_ = net_->register_module("0", std::make_shared<Geglu>(width, 4 * width));
    out_ = net_->register_module("2", std::make_shared<Linear>(4 * width, width));
  }
  [[nodiscard]] at::Tensor forward(const at::Tensor& tokens) const { return out_->forward(gate_->forward(tokens)); }

 private:
  std::shared_ptr<torch::nn::Module> net_;
  std::shared_ptr<Geglu> gate_;
  std::shared_ptr<Linear> out_;
};

BasicTransformerBlock::BasicTransformerBlock(std::int64_t width, const TransformerOptions& options) {
  norm1_ = register_module("norm1", std::make_shared<LayerNorm>(width, layer_norm_epsilon));
  attn1_ = register_module("attn1", std::make_shared<Attention>(width, width, options.heads, options.upcast));
  if (options.context_width > 0) {
    norm2_ = register_module("norm2", std::make_shared<LayerNorm>(width, layer_norm_epsilon));
    attn2_ = register_module("attn2",
                             std::make_shared<Attention>(width, options.context_width, options.heads, options.upcast));
  }
  norm3_ = register_module("norm3", std::make_shared<LayerNorm>(width, layer_norm_epsilon));
  ff_ = register_module("ff", std::make_shared<FeedForward>(width));
}

at::Tensor BasicTransformerBlock::forward(at::Tensor tokens, const at::Tensor& text) const {
  const at::Tensor normalised = norm1_->forward(tokens);
  tokens = tokens + attn1_->forward(normalised, normalised);
  if (attn2_) {
    tokens = tokens + attn2_->forward(norm2_->forward(tokens), text);
  }
  return tokens + ff_->forward(norm3_->forward(tokens));
}

Transformer2DModel::Transformer2DModel(std::int64_t channels, const TransformerOptions& options) {
  norm_ = register_module("norm", std::make_shared<GroupNorm>(options.groups, channels, transformer_norm_epsilon));
  if (options.linear_projection) {
    linear_in_ = register_module("proj_in", std::make_shared<Linear>(channels, channels));
  } else {
    conv_in_ = register_module("proj_in", std::make_shared<Conv2d>(channels, channels, 1));
  }
  blocks_ = register_module("transformer_blocks", std::make_shared<ModuleSequence<BasicTransformerBlock>>());
  for (std::int64_t layer = 0; layer < options.layers; ++layer) {
    blocks_->append(std::make_shared<BasicTransformerBlock>(channels, options));
  }
  if (options.linear_projection) {
    linear_out_ = register_module("proj_out", std::make_shared<Linear>(channels, channels));
  } else {
    conv_out_ = register_module("proj_out", std::make_shared<Conv2d>(channels, channels, 1));
  }
}

at::Tensor Transformer2DModel::forward(const at::Tensor& image, const at::Tensor& text) const {
  at::Tensor tokens = norm_->forward(image).permute({0, 2, 3, 1}).flatten(1, 2);
  tokens = linear_in_ ? linear_in_->forward(tokens) : conv_in_->forward_tokens(tokens);
  for (const auto& block : *blocks_) {
    tokens = block->forward(std::move(tokens), text);
  }
  tokens = linear_out_ ? linear_out_->forward(tokens) : conv_out_->forward_tokens(tokens);
  return image + tokens.unflatten(1, {image.size(2), image.size(3)}).permute({0, 3, 1, 2});
}

}  // namespace soup
