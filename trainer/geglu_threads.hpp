// GEGLU on a GPU: what each thread of its kernels computes (Shazeer 2020, GEGLU: the first half of a projection, times
// GELU of the second).
#pragma once

#include "trainer/gpu_thread.hpp"

namespace soup {

// T: float or c10::BFloat16. Threads: rows x (columns / width).
template <class T>
struct GpuGeglu {
  std::int64_t rows = 0;
  std::int64_t columns = 0;      // of the output; a multiple of the width
  const T* projected = nullptr;  // [rows, 2 * columns]
  T* output = nullptr;           // [rows, columns], of the forward pass
  const T* slope = nullptr;      // [rows, columns], of the backward pass: gradient by the output
  T* by_projected = nullptr;     // [rows, 2 * columns], of the backward pass
};

// The distribution function of the standard normal distribution: GELU(x) = x * normal_cdf(x).
SOUP_THREAD float normal_cdf(float x) {
  return 0.5F * (1.0F + erff(x * 0.70710678F));
}

// What a thread works on: where its values, their gates, and their results lie.
template <int width, class T>
struct GegluPlace {
  std::int64_t value, gate, result;

  SOUP_THREAD GegluPlace(const GpuGeglu<T>& call, std::int64_t thread) {
    const std::int64_t lanes = call.columns / width;
    const std::int64_t row = thread / lanes;
    result = row * call.columns + thread % lanes * width;
    value = result + row * call.columns;
    gate = value + call.columns;
  }
};

template <int width, class T>
SOUP_THREAD void geglu_output(const GpuGeglu<T>& call, std::int64_t thread) {
  const GegluPlace<width, T> place(call, thread);
  float values[width];
  float gates[width];
  load<width>(call.projected + place.value, values);
  load<width>(call.projected + place.gate, gates);
  for (int i = 0; i < width; ++i) {
    values[i] *= gates[i] * normal_cdf(gates[i]);
  }
  store<width>(values, call.output + place.result);
}

template <int width, class T>
SOUP_THREAD void geglu_by_projected(const GpuGeglu<T>& call, std::int64_t thread) {
  const GegluPlace<width, T> place(call, thread);
  float values[width];
  float gates[width];
  float slopes[width];
  load<width>(call.projected + place.value, values);
  load<width>(call.projected + place.gate, gates);
  load<width>(call.slope + place.result, slopes);
  for (int i = 0; i < width; ++i) {
    const float gate = gates[i];
    const float below = normal_cdf(gate);
    const float density = 0.39894228F * expf(-0.5F * gate * gate);
    gates[i] = slopes[i] * values[i] * (below + gate * density);
    values[i] = slopes[i] * gate * below;
  }
  store<width>(values, call.by_projected + place.value);
  store<width>(gates, call.by_projected + place.gate);
}

}  // namespace soup
