// The kernels of our own for GPUs, launched: each call of a *_threads.hpp function for all its threads. No torch.
#pragma once

#include "trainer/geglu_threads.hpp"
#include "trainer/group_norm_threads.hpp"

namespace soup {

using GpuStream = void*;  // a cudaStream_t

// All pointers lie on the current GPU and are multiples of 16 bytes from the start of their tensors' storage. T: float
// or c10::BFloat16. Throws std::runtime_error when CUDA refuses a launch.
template <class T>
void launch_group_norm(const GpuNormForward<T>& call, GpuStream stream);
template <class T>
void launch_group_norm_backward(const GpuNormBackward<T>& call, GpuStream stream);
template <class T>
void launch_geglu(const GpuGeglu<T>& call, GpuStream stream);
template <class T>
void launch_geglu_backward(const GpuGeglu<T>& call, GpuStream stream);

}  // namespace soup
