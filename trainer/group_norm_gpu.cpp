// Group normalisation on a GPU behind autograd.
#include "trainer/group_norm_gpu.hpp"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>

#include "trainer/gpu_kernels.hpp"

namespace soup {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Enough threads to fill a large GPU, and enough pixels a thread to hide that it begins anew.
constexpr std::int64_t wanted_threads = 1 << 17;
constexpr std::int64_t least_chunk = 16;

GpuNormShape shape_of(const at::Tensor& image, std::int64_t groups) {
  GpuNormShape shape{
      .images = image.size(0), .pixels = image.size(2) * image.size(3), .channels = image.size(1), .groups = groups};
  const std::int64_t width = 16 / image.element_size();
  const std::int64_t threads_a_chunk = std::max<std::int64_t>(1, shape.images * shape.channels / width);
  const std::int64_t chunks = std::max<std::int64_t>(1, wanted_threads / threads_a_chunk);
  shape.chunk = std::max(least_chunk, (shape.pixels + chunks - 1) / chunks);
  return shape;
}

// Channels side by side, at the start of a storage of its own where it is none: threads read 16 bytes at once.
at::Tensor packed(const at::Tensor& image) {
  const at::Tensor last = image.contiguous(at::MemoryFormat::ChannelsLast);
  return last.storage_offset() * last.element_size() % 16 == 0 ? last : last.clone(at::MemoryFormat::ChannelsLast);
}

at::Tensor like_image(const at::Tensor& image) {
  return at::empty(image.sizes(), image.options().memory_format(at::MemoryFormat::ChannelsLast));
}

float* values(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<float>() : nullptr;
}

// What both passes are told. saved: image, shift, weight, bias, channel means, means, inverse deviations.
template <class T>
GpuNormForward<T> call_of(const variable_list& saved, std::int64_t groups, double epsilon, bool silu) {
  return {.shape = shape_of(saved[0], groups),
          .image = saved[0].const_data_ptr<T>(),
          .shift = values(saved[1]),
          .weight = values(saved[2]),
          .bias = values(saved[3]),
          .epsilon = static_cast<float>(epsilon),
          .silu = silu,
          .channel_means = values(saved[4]),
          .means = values(saved[5]),
          .inverse_deviations = values(saved[6])};
}

template <class Body>
void with_type(const at::Tensor& image, const Body& body) {
  if (image.scalar_type() == at::kBFloat16) {
    body(at::BFloat16());
  } else {
    body(float());
  }
}

class GroupNormOnGpu : public torch::autograd::Function<GroupNormOnGpu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& any_layout,
                            const std::optional<at::Tensor>& any_shift, const at::Tensor& weight,
                            const at::Tensor& bias, std::int64_t groups, double epsilon, bool silu) {
    const at::Tensor image = packed(any_layout);
    const at::Tensor shift = any_shift ? any_shift->to(at::kFloat).contiguous() : at::Tensor();
    const GpuNormShape shape = shape_of(image, groups);
    const at::TensorOptions floats = image.options().dtype(at::kFloat);
    const at::Tensor by_chunk = at::empty({2, shape.images, shape.chunks(), shape.channels}, floats);
    const at::Tensor by_channel = at::empty({2, shape.images, shape.channels}, floats);
    const at::Tensor by_group = at::empty({2, shape.images, groups}, floats);
    const at::Tensor output = like_image(image);
    const variable_list saved = {image, shift, weight, bias, by_channel[0], by_group[0], by_group[1]};
    with_type(image, [&](auto zero) {
      using T = decltype(zero);
      GpuNormForward<T> call = call_of<T>(saved, groups, epsilon, silu);
      call.chunk_means = values(by_chunk[0]);
      call.chunk_squares = values(by_chunk[1]);
      call.channel_squares = values(by_channel[1]);
      call.output = output.mutable_data_ptr<T>();
      launch_group_norm(call, c10::cuda::getCurrentCUDAStream().stream());
    });
    context->save_for_backward(saved);
    context->saved_data["groups"] = groups;
    context->saved_data["silu"] = silu;
    context->saved_data["shift_type"] = any_shift ? any_shift->scalar_type() : at::kFloat;
    return output;
  }

  static variable_list backward(AutogradContext* context, const variable_list& output_gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& image = saved[0];
    const std::int64_t groups = context->saved_data["groups"].toInt();
    const GpuNormShape shape = shape_of(image, groups);
    const at::Tensor slope = packed(output_gradients[0].to(image.scalar_type()));
    const at::TensorOptions floats = image.options().dtype(at::kFloat);
    const at::Tensor by_chunk = at::empty({2, shape.images, shape.chunks(), shape.channels}, floats);
    const at::Tensor by_channel = at::empty({3, shape.images, shape.channels}, floats);
    const at::Tensor by_group = at::empty({2, shape.images, groups}, floats);
    const at::Tensor by_image = like_image(image);
    with_type(image, [&](auto zero) {
      using T = decltype(zero);
      const GpuNormBackward<T> call{.forward = call_of<T>(saved, groups, 0.0, context->saved_data["silu"].toBool()),
                                    .slope = slope.const_data_ptr<T>(),
                                    .chunk_sums = values(by_chunk[0]),
                                    .chunk_products = values(by_chunk[1]),
                                    .by_bias = values(by_channel[0]),
                                    .by_weight = values(by_channel[1]),
                                    .mean_sums = values(by_group[0]),
                                    .mean_products = values(by_group[1]),
                                    .by_shift = saved[1].defined() ? values(by_channel[2]) : nullptr,
                                    .by_image = by_image.mutable_data_ptr<T>()};
      launch_group_norm_backward(call, c10::cuda::getCurrentCUDAStream().stream());
    });
    at::Tensor by_shift;
    if (saved[1].defined()) {
      by_shift = by_channel[2].to(context->saved_data["shift_type"].toScalarType());
    }
    return {by_image, by_shift, by_channel[1].sum(0), by_channel[0].sum(0), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor group_norm_on_gpu(const at::Tensor& image, const at::Tensor& shift, const at::Tensor& weight,
                             const at::Tensor& bias, std::int64_t groups, double epsilon, bool silu) {
  const std::optional<at::Tensor> any_shift = shift.defined() ? std::optional(shift) : std::nullopt;
  return GroupNormOnGpu::apply(image, any_shift, weight, bias, groups, epsilon, silu);
}

}  // namespace soup
