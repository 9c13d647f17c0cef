// The few layers all networks here are built of: parameters, and one call each.
#include "trainer/layers.hpp"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "trainer/group_norm_silu.hpp"

namespace soup {

Linear::Linear(std::int64_t in, std::int64_t out, bool bias) {
  weight_ = register_parameter("weight", at::empty({out, in}));
  if (bias) {
    bias_ = register_parameter("bias", at::empty({out}));
  }
}

at::Tensor Linear::forward(const at::Tensor& input) const {
  return at::linear(input, weight_, bias_);
}

Conv2d::Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride)
    : Conv2d(in, out, kernel, stride, (kernel - 1) / 2) {}

Conv2d::Conv2d(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t padding)
    : stride_(stride), padding_(padding) {
  weight_ = register_parameter("weight", at::empty({out, in, kernel, kernel}));
  bias_ = register_parameter("bias", at::empty({out}));
}

at::Tensor Conv2d::forward(const at::Tensor& input) const {
  return at::conv2d(input, weight_, bias_, stride_, padding_);
}

at::Tensor Conv2d::forward_tokens(const at::Tensor& tokens) const {
  return at::linear(tokens, weight_.flatten(1), bias_);
}

GroupNorm::GroupNorm(std::int64_t groups, std::int64_t channels, double epsilon) : groups_(groups), epsilon_(epsilon) {
  weight_ = register_parameter("weight", at::empty({channels}));
  bias_ = register_parameter("bias", at::empty({channels}));
}

at::Tensor GroupNorm::forward(const at::Tensor& input) const {
  return group_norm(input, weight_, bias_, groups_, epsilon_);
}

at::Tensor GroupNorm::forward_silu(const at::Tensor& input, const at::Tensor& shift) const {
  return group_norm_silu(input, shift, weight_, bias_, groups_, epsilon_);
}

LayerNorm::LayerNorm(std::int64_t channels, double epsilon) : channels_(channels), epsilon_(epsilon) {
  weight_ = register_parameter("weight", at::empty({channels}));
  bias_ = register_parameter("bias", at::empty({channels}));
}

at::Tensor LayerNorm::forward(const at::Tensor& input) const {
  if (input.is_cuda() && input.scalar_type() == at::kBFloat16) {
    // Autocast would widen the input, and with it all that is added to the result, to float32; the kernel's sums are
    // float32 in any case.
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    return at::layer_norm(input, {channels_}, weight_.to(at::kBFloat16), bias_.to(at::kBFloat16), epsilon_);
  }
  return at::layer_norm(input, {channels_}, weight_, bias_, epsilon_);
}

Embedding::Embedding(std::int64_t rows, std::int64_t width) {
  weight_ = register_parameter("weight", at::empty({rows, width}));
}

at::Tensor Embedding::forward(const at::Tensor& ids) const {
  return at::embedding(weight_, ids);
}

}  // namespace soup
