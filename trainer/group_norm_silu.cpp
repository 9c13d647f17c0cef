// The kernel behind autograd.
#include "trainer/group_norm_silu.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "trainer/group_norm_kernel.hpp"
#ifdef SOUP_CUDA
#include "trainer/group_norm_gpu.hpp"
#endif

namespace soup {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

NormShape shape_of(const at::Tensor& image, std::int64_t groups) {
  return {.channels = image.size(1), .pixels = image.size(2) * image.size(3), .groups = groups};
}

const float* values_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

NormInput input_of(const variable_list& tensors) {
  return {.image = tensors[0].const_data_ptr<float>(),
          .shift = values_or_null(tensors[1]),
          .weight = tensors[2].const_data_ptr<float>(),
          .bias = tensors[3].const_data_ptr<float>()};
}

class GroupNormSilu : public torch::autograd::Function<GroupNormSilu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& any_layout,
                            const std::optional<at::Tensor>& any_shift, const at::Tensor& weight,
                            const at::Tensor& bias, std::int64_t groups, double epsilon) {
    const at::Tensor image = any_layout.contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor shift = any_shift ? any_shift->contiguous() : at::Tensor();
    const NormShape shape = shape_of(image, groups);
    at::Tensor output = at::empty(image.sizes(), image.options().memory_format(at::MemoryFormat::ChannelsLast));
    at::Tensor mean = at::empty({image.size(0), groups}, image.options());
    at::Tensor inverse_deviation = at::empty({image.size(0), groups}, image.options());
    const NormInput input = input_of({image, shift, weight, bias});
    at::parallel_for(0, image.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
      group_norm_silu(shape, input, epsilon, begin, end, output.data_ptr<float>(), mean.data_ptr<float>(),
                      inverse_deviation.data_ptr<float>());
    });
    context->save_for_backward({image, shift, weight, bias, mean, inverse_deviation});
    context->saved_data["groups"] = groups;
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& image = saved[0];
    const NormShape shape = shape_of(image, context->saved_data["groups"].toInt());
    const at::Tensor output_gradient = output_gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    at::Tensor by_image = at::empty(image.sizes(), image.options().memory_format(at::MemoryFormat::ChannelsLast));
    at::Tensor by_shift;
    if (saved[1].defined()) {
      by_shift = at::empty(saved[1].sizes(), image.options());
    }
    at::Tensor by_weight = at::empty({image.size(0), shape.channels}, image.options());
    at::Tensor by_bias = at::empty_like(by_weight);
    const NormInput input = input_of(saved);
    const NormGradients gradients{.image = by_image.data_ptr<float>(),
                                  .shift = by_shift.defined() ? by_shift.data_ptr<float>() : nullptr,
                                  .weight = by_weight.data_ptr<float>(),
                                  .bias = by_bias.data_ptr<float>()};
    at::parallel_for(0, image.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
      group_norm_silu_backward(shape, input, saved[4].const_data_ptr<float>(), saved[5].const_data_ptr<float>(),
                               output_gradient.const_data_ptr<float>(), begin, end, gradients);
    });
    return {by_image, by_shift, by_weight.sum(0), by_bias.sum(0), at::Tensor(), at::Tensor()};
  }
};

// The kernel gives every thread whole images. For fewer images than threads, of a size where that matters (an
// autoencoder's), PyTorch's operators, which divide an image among threads, are faster.
bool has_idle_threads(const at::Tensor& image) {
  constexpr std::int64_t large = 128 * 128;
  return !at::GradMode::is_enabled() && image.size(0) < at::get_num_threads() && image.size(2) * image.size(3) >= large;
}

#ifdef SOUP_CUDA
// Whether the kernels for GPUs take it.
bool is_for_gpu(const at::Tensor& image, const at::Tensor& weight) {
  return image.is_cuda() && weight.scalar_type() == at::kFloat && image.numel() > 0 &&
         (image.scalar_type() == at::kFloat || image.scalar_type() == at::kBFloat16);
}
#endif

}  // namespace

at::Tensor group_norm_silu(const at::Tensor& image, const at::Tensor& shift, const at::Tensor& weight,
                           const at::Tensor& bias, std::int64_t groups, double epsilon) {
  if (image.device().is_cpu() && image.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
      !has_idle_threads(image)) {
    const std::optional<at::Tensor> any_shift = shift.defined() ? std::optional(shift) : std::nullopt;
    return GroupNormSilu::apply(image, any_shift, weight, bias, groups, epsilon);
  }
#ifdef SOUP_CUDA
  if (is_for_gpu(image, weight)) {
    return group_norm_on_gpu(image, shift, weight, bias, groups, epsilon, /*silu=*/true);
  }
#endif
  const at::Tensor shifted = shift.defined() ? image + shift.unsqueeze(-1).unsqueeze(-1) : image;
  at::Tensor normalised = at::group_norm(shifted, groups, weight, bias, epsilon);
  return at::GradMode::is_enabled() ? at::silu(normalised) : at::silu_(normalised);
}

at::Tensor group_norm(const at::Tensor& image, const at::Tensor& weight, const at::Tensor& bias, std::int64_t groups,
                      double epsilon) {
#ifdef SOUP_CUDA
  if (is_for_gpu(image, weight)) {
    return group_norm_on_gpu(image, {}, weight, bias, groups, epsilon, /*silu=*/false);
  }
#endif
  return at::group_norm(image, groups, weight, bias, epsilon);
}

}  // namespace soup
