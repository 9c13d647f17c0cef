// What the kernels' per-thread functions (*_threads.hpp) have in common. They are plain C++ without torch: nvcc
// compiles them for GPUs, every other compiler for tests that call them once per thread.
#pragma once

#include <c10/util/BFloat16.h>

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define SOUP_THREAD __host__ __device__ inline
#else
#define SOUP_THREAD inline
#endif

namespace soup {

// Neighbouring numbers that a thread reads and writes at once: up to 16 bytes.
template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T values[width];
};

template <int width, class T>
SOUP_THREAD void load(const T* from, float (&to)[width]) {
  const Pack<T, width> pack = *reinterpret_cast<const Pack<T, width>*>(from);
  for (int i = 0; i < width; ++i) {
    to[i] = static_cast<float>(pack.values[i]);
  }
}

template <int width, class T>
SOUP_THREAD void store(const float (&from)[width], T* to) {
  Pack<T, width> pack;
  for (int i = 0; i < width; ++i) {
    pack.values[i] = static_cast<T>(from[i]);
  }
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
}

SOUP_THREAD float sigmoid(float x) {
  return 1.0F / (1.0F + expf(-x));
}

}  // namespace soup
