// GEGLU by PyTorch's operators, and by a kernel of our own where there are GPUs.
#include "trainer/geglu.hpp"

#include <ATen/ATen.h>

#ifdef SOUP_CUDA
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/autograd/custom_function.h>

#include "trainer/gpu_kernels.hpp"
#endif

namespace soup {

#ifdef SOUP_CUDA
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor packed_rows(const at::Tensor& tensor) {
  const at::Tensor rows = tensor.contiguous();
  return rows.storage_offset() * rows.element_size() % 16 == 0 ? rows : rows.clone();
}

// With `slope`, the gradient by the output, the gradient by `projected`; else the output.
template <class T>
at::Tensor run_geglu(const at::Tensor& projected, const at::Tensor& slope) {
  const std::int64_t columns = projected.size(-1) / 2;
  GpuGeglu<T> call{
      .rows = projected.numel() / (2 * columns), .columns = columns, .projected = projected.const_data_ptr<T>()};
  const GpuStream stream = c10::cuda::getCurrentCUDAStream().stream();
  if (slope.defined()) {
    at::Tensor by_projected = at::empty_like(projected);
    call.slope = slope.const_data_ptr<T>();
    call.by_projected = by_projected.mutable_data_ptr<T>();
    launch_geglu_backward(call, stream);
    return by_projected;
  }
  std::vector<std::int64_t> sizes = projected.sizes().vec();
  sizes.back() = columns;
  at::Tensor output = at::empty(sizes, projected.options());
  call.output = output.mutable_data_ptr<T>();
  launch_geglu(call, stream);
  return output;
}

at::Tensor run_geglu(const at::Tensor& projected, const at::Tensor& slope) {
  return projected.scalar_type() == at::kBFloat16 ? run_geglu<at::BFloat16>(projected, slope)
                                                  : run_geglu<float>(projected, slope);
}

class GegluOnGpu : public torch::autograd::Function<GegluOnGpu> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& any_layout) {
    const at::Tensor projected = packed_rows(any_layout);
    context->save_for_backward({projected});
    return run_geglu(projected, {});
  }
  static variable_list backward(AutogradContext* context, const variable_list& slopes) {
    const at::Tensor projected = context->get_saved_variables()[0];
    return {run_geglu(projected, packed_rows(slopes[0].to(projected.scalar_type())))};
  }
};

}  // namespace
#endif

at::Tensor geglu(const at::Tensor& projected) {
#ifdef SOUP_CUDA
  if (projected.is_cuda() && (projected.scalar_type() == at::kFloat || projected.scalar_type() == at::kBFloat16)) {
    return GegluOnGpu::apply(projected);
  }
#endif
  const auto halves = projected.chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

}  // namespace soup
