// The kernels of our own for GPUs: one generic kernel that calls a thread's function.
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "trainer/gpu_kernels.hpp"

namespace soup {
namespace {

constexpr unsigned block_threads = 256;

template <class Call, void (*function)(const Call&, std::int64_t)>
__global__ void __launch_bounds__(block_threads) run(Call call, std::int64_t threads) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (thread < threads) {
    function(call, thread);
  }
}

template <class Call, void (*function)(const Call&, std::int64_t)>
void launch(const Call& call, std::int64_t threads, GpuStream stream, const char* name) {
  if (threads == 0) {
    return;
  }
  const auto blocks = static_cast<unsigned>((threads + block_threads - 1) / block_threads);
  run<Call, function><<<blocks, block_threads, 0, static_cast<cudaStream_t>(stream)>>>(call, threads);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw std::runtime_error(std::string("CUDA refuses kernel ") + name + ": " + cudaGetErrorString(error));
  }
}

// Calls body with the width of a thread's packs as a constant: up to 16 bytes, dividing `columns`.
template <class T, class Body>
void with_width(std::int64_t columns, const Body& body) {
  constexpr int widest = 16 / sizeof(T);
  if (columns % widest == 0) {
    body(std::integral_constant<int, widest>());
  } else if (columns % 2 == 0) {
    body(std::integral_constant<int, 2>());
  } else {
    body(std::integral_constant<int, 1>());
  }
}

}  // namespace

template <class T>
void launch_group_norm(const GpuNormForward<T>& call, GpuStream stream) {
  using Call = GpuNormForward<T>;
  const GpuNormShape& shape = call.shape;
  with_width<T>(shape.channels, [&](auto constant) {
    constexpr int width = decltype(constant)::value;
    const std::int64_t threads = shape.images * shape.chunks() * (shape.channels / width);
    launch<Call, norm_chunk_moments<width, T>>(call, threads, stream, "norm_chunk_moments");
    launch<Call, norm_channel_moments<T>>(call, shape.images * shape.channels, stream, "norm_channel_moments");
    launch<Call, norm_group_moments<T>>(call, shape.images * shape.groups, stream, "norm_group_moments");
    launch<Call, norm_output<width, T>>(call, threads, stream, "norm_output");
  });
}

template <class T>
void launch_group_norm_backward(const GpuNormBackward<T>& call, GpuStream stream) {
  using Call = GpuNormBackward<T>;
  const GpuNormShape& shape = call.forward.shape;
  with_width<T>(shape.channels, [&](auto constant) {
    constexpr int width = decltype(constant)::value;
    const std::int64_t threads = shape.images * shape.chunks() * (shape.channels / width);
    launch<Call, norm_chunk_slopes<width, T>>(call, threads, stream, "norm_chunk_slopes");
    launch<Call, norm_channel_slopes<T>>(call, shape.images * shape.channels, stream, "norm_channel_slopes");
    launch<Call, norm_group_slopes<T>>(call, shape.images * shape.groups, stream, "norm_group_slopes");
    launch<Call, norm_by_image<width, T>>(call, threads, stream, "norm_by_image");
  });
}

template <class T>
void launch_geglu(const GpuGeglu<T>& call, GpuStream stream) {
  with_width<T>(call.columns, [&](auto constant) {
    constexpr int width = decltype(constant)::value;
    launch<GpuGeglu<T>, geglu_output<width, T>>(call, call.rows * (call.columns / width), stream, "geglu_output");
  });
}

template <class T>
void launch_geglu_backward(const GpuGeglu<T>& call, GpuStream stream) {
  with_width<T>(call.columns, [&](auto constant) {
    constexpr int width = decltype(constant)::value;
    launch<GpuGeglu<T>, geglu_by_projected<width, T>>(call, call.rows * (call.columns / width), stream,
                                                      "geglu_by_projected");
  });
}

template void launch_group_norm(const GpuNormForward<float>&, GpuStream);
template void launch_group_norm(const GpuNormForward<c10::BFloat16>&, GpuStream);
template void launch_group_norm_backward(const GpuNormBackward<float>&, GpuStream);
template void launch_group_norm_backward(const GpuNormBackward<c10::BFloat16>&, GpuStream);
template void launch_geglu(const GpuGeglu<float>&, GpuStream);
template void launch_geglu(const GpuGeglu<c10::BFloat16>&, GpuStream);
template void launch_geglu_backward(const GpuGeglu<float>&, GpuStream);
template void launch_geglu_backward(const GpuGeglu<c10::BFloat16>&, GpuStream);

}  // namespace soup
