// Group normalisation and SiLU on a GPU: what each thread of its kernels computes. All reductions are per image and
// channel first, so no thread waits for another, every sum has a fixed order, and equal inputs give equal bits.
#pragma once

#include "trainer/gpu_thread.hpp"

namespace soup {

// [N, pixels, channels]: images whose channels lie side by side, as at::MemoryFormat::ChannelsLast stores them. A
// thread works on `width` neighbouring channels of one chunk of pixels.
struct GpuNormShape {
  std::int64_t images = 0;
  std::int64_t pixels = 0;    // H * W, at least 1
  std::int64_t channels = 0;  // a multiple of the width
  std::int64_t groups = 0;    // divides channels
  std::int64_t chunk = 0;     // pixels a thread goes through

  [[nodiscard]] SOUP_THREAD std::int64_t chunks() const { return (pixels + chunk - 1) / chunk; }
  [[nodiscard]] SOUP_THREAD std::int64_t group_channels() const { return channels / groups; }
};

// T: float or c10::BFloat16. All else is float.
template <class T>
struct GpuNormForward {
  GpuNormShape shape;
  const T* image = nullptr;       // [N, pixels, channels]
  const float* shift = nullptr;   // [N, channels], added to every pixel before normalising; null: nothing
  const float* weight = nullptr;  // [channels]
  const float* bias = nullptr;    // [channels]
  float epsilon = 0.0F;
  bool silu = true;                     // else the normalised values themselves
  float* chunk_means = nullptr;         // [N, chunks, channels], scratch
  float* chunk_squares = nullptr;       // [N, chunks, channels], scratch: squared deviations, summed
  float* channel_means = nullptr;       // [N, channels], of the image without shift
  float* channel_squares = nullptr;     // [N, channels], scratch
  float* means = nullptr;               // [N, groups]
  float* inverse_deviations = nullptr;  // [N, groups]
  T* output = nullptr;                  // [N, pixels, channels]
};

template <class T>
struct GpuNormBackward {
  GpuNormForward<T> forward;        // inputs, channel_means, means and inverse_deviations of the forward pass
  const T* slope = nullptr;         // [N, pixels, channels]: gradient by the output
  float* chunk_sums = nullptr;      // [N, chunks, channels], scratch
  float* chunk_products = nullptr;  // [N, chunks, channels], scratch
  float* by_bias = nullptr;         // [N, channels]: each image's part
  float* by_weight = nullptr;       // [N, channels]: likewise
  float* mean_sums = nullptr;       // [N, groups], scratch
  float* mean_products = nullptr;   // [N, groups], scratch
  float* by_shift = nullptr;        // [N, channels]; null: not wanted
  T* by_image = nullptr;            // [N, pixels, channels]
};

// Image, chunk and first channel of a thread.
template <int width>
struct NormPlace {
  std::int64_t image, chunk, channel, begin, end;

  SOUP_THREAD NormPlace(const GpuNormShape& shape, std::int64_t thread) {
    const std::int64_t lanes = shape.channels / width;
    channel = thread % lanes * width;
    chunk = thread / lanes % shape.chunks();
    image = thread / lanes / shape.chunks();
    begin = chunk * shape.chunk;
    end = begin + shape.chunk < shape.pixels ? begin + shape.chunk : shape.pixels;
  }
  [[nodiscard]] SOUP_THREAD std::int64_t of_pixel(const GpuNormShape& shape, std::int64_t pixel) const {
    return (image * shape.pixels + pixel) * shape.channels + channel;
  }
  [[nodiscard]] SOUP_THREAD std::int64_t of_chunk(const GpuNormShape& shape) const {
    return (image * shape.chunks() + chunk) * shape.channels + channel;
  }
};

// What is done to `width` channels of an image: x -> (x - center) * deviation, and that times weight plus bias.
template <int width>
struct NormMap {
  float center[width];     // mean - shift: subtracted before anything is multiplied, which keeps its digits
  float deviation[width];  // the inverse one
  float weight[width];
  float bias[width];

  template <class T>
  SOUP_THREAD NormMap(const GpuNormForward<T>& call, std::int64_t image, std::int64_t first) {
    for (int i = 0; i < width; ++i) {
      const std::int64_t channel = first + i;
      const std::int64_t group = image * call.shape.groups + channel / call.shape.group_channels();
      const float shift = call.shift != nullptr ? call.shift[image * call.shape.channels + channel] : 0.0F;
      center[i] = call.means[group] - shift;
      deviation[i] = call.inverse_deviations[group];
      weight[i] = call.weight[channel];
      bias[i] = call.bias[channel];
    }
  }
};

// Threads: images x chunks x (channels / width). Mean and squared deviations of a chunk's channels; deviations from the
// first pixel are summed, which keeps their digits where the mean is large.
template <int width, class T>
SOUP_THREAD void norm_chunk_moments(const GpuNormForward<T>& call, std::int64_t thread) {
  const NormPlace<width> place(call.shape, thread);
  float first[width];
  float sums[width] = {};
  float squares[width] = {};
  load<width>(call.image + place.of_pixel(call.shape, place.begin), first);
  for (std::int64_t pixel = place.begin; pixel < place.end; ++pixel) {
    float values[width];
    load<width>(call.image + place.of_pixel(call.shape, pixel), values);
    for (int i = 0; i < width; ++i) {
      const float deviation = values[i] - first[i];
      sums[i] += deviation;
      squares[i] += deviation * deviation;
    }
  }
  const auto count = static_cast<float>(place.end - place.begin);
  for (int i = 0; i < width; ++i) {
    const float mean = sums[i] / count;
    call.chunk_means[place.of_chunk(call.shape) + i] = first[i] + mean;
    call.chunk_squares[place.of_chunk(call.shape) + i] = fmaxf(squares[i] - sums[i] * mean, 0.0F);
  }
}

// Threads: images x channels. The chunks of a channel, put together pairwise (Chan et al. 1983, equation 2.1).
template <class T>
SOUP_THREAD void norm_channel_moments(const GpuNormForward<T>& call, std::int64_t thread) {
  const GpuNormShape& shape = call.shape;
  const std::int64_t image = thread / shape.channels;
  const std::int64_t channel = thread % shape.channels;
  float mean = 0.0F;
  float squares = 0.0F;
  float count = 0.0F;
  for (std::int64_t chunk = 0; chunk < shape.chunks(); ++chunk) {
    const std::int64_t place = (image * shape.chunks() + chunk) * shape.channels + channel;
    const std::int64_t left = shape.pixels - chunk * shape.chunk;
    const auto more = static_cast<float>(left < shape.chunk ? left : shape.chunk);
    const float step = call.chunk_means[place] - mean;
    const float share = more / (count + more);
    mean += step * share;
    squares += call.chunk_squares[place] + step * step * count * share;
    count += more;
  }
  call.channel_means[thread] = mean;
  call.channel_squares[thread] = squares;
}

// Threads: images x groups. The channels of a group, each with its shift.
template <class T>
SOUP_THREAD void norm_group_moments(const GpuNormForward<T>& call, std::int64_t thread) {
  const GpuNormShape& shape = call.shape;
  const std::int64_t count = shape.group_channels();
  const std::int64_t first = thread * count;  // in [N, channels]
  const auto channel_mean = [&](std::int64_t i) {
    return call.channel_means[first + i] + (call.shift != nullptr ? call.shift[first + i] : 0.0F);
  };
  float mean = 0.0F;
  for (std::int64_t i = 0; i < count; ++i) {
    mean += (channel_mean(i) - mean) / static_cast<float>(i + 1);
  }
  float squares = 0.0F;
  const auto pixels = static_cast<float>(shape.pixels);
  for (std::int64_t i = 0; i < count; ++i) {
    const float deviation = channel_mean(i) - mean;
    squares += call.channel_squares[first + i] + pixels * deviation * deviation;
  }
  call.means[thread] = mean;
  call.inverse_deviations[thread] = 1.0F / sqrtf(squares / (pixels * static_cast<float>(count)) + call.epsilon);
}

// Threads: images x chunks x (channels / width).
template <int width, class T>
SOUP_THREAD void norm_output(const GpuNormForward<T>& call, std::int64_t thread) {
  const NormPlace<width> place(call.shape, thread);
  const NormMap<width> map(call, place.image, place.channel);
  for (std::int64_t pixel = place.begin; pixel < place.end; ++pixel) {
    float values[width];
    load<width>(call.image + place.of_pixel(call.shape, pixel), values);
    for (int i = 0; i < width; ++i) {
      const float mapped = (values[i] - map.center[i]) * map.deviation[i] * map.weight[i] + map.bias[i];
      values[i] = call.silu ? mapped * sigmoid(mapped) : mapped;
    }
    store<width>(values, call.output + place.of_pixel(call.shape, pixel));
  }
}

// Of `width` channels of a pixel: the gradients by what the map gives, before SiLU, and the normalised values.
template <int width, class T>
SOUP_THREAD void norm_slopes(const GpuNormBackward<T>& call, const NormMap<width>& map, std::int64_t place,
                             float (&slopes)[width], float (&normalised)[width]) {
  float values[width];
  load<width>(call.forward.image + place, values);
  load<width>(call.slope + place, slopes);
  for (int i = 0; i < width; ++i) {
    normalised[i] = (values[i] - map.center[i]) * map.deviation[i];
    if (call.forward.silu) {
      const float mapped = normalised[i] * map.weight[i] + map.bias[i];
      const float gate = sigmoid(mapped);
      slopes[i] *= gate * (1.0F + mapped * (1.0F - gate));
    }
  }
}

// Threads: images x chunks x (channels / width). Sums over a chunk's pixels of the slopes, and of slopes times
// normalised values.
template <int width, class T>
SOUP_THREAD void norm_chunk_slopes(const GpuNormBackward<T>& call, std::int64_t thread) {
  const GpuNormShape& shape = call.forward.shape;
  const NormPlace<width> place(shape, thread);
  const NormMap<width> map(call.forward, place.image, place.channel);
  float sums[width] = {};
  float products[width] = {};
  for (std::int64_t pixel = place.begin; pixel < place.end; ++pixel) {
    float slopes[width];
    float normalised[width];
    norm_slopes(call, map, place.of_pixel(shape, pixel), slopes, normalised);
    for (int i = 0; i < width; ++i) {
      sums[i] += slopes[i];
      products[i] += slopes[i] * normalised[i];
    }
  }
  for (int i = 0; i < width; ++i) {
    call.chunk_sums[place.of_chunk(shape) + i] = sums[i];
    call.chunk_products[place.of_chunk(shape) + i] = products[i];
  }
}

// Threads: images x channels. The gradients by bias and weight.
template <class T>
SOUP_THREAD void norm_channel_slopes(const GpuNormBackward<T>& call, std::int64_t thread) {
  const GpuNormShape& shape = call.forward.shape;
  const std::int64_t image = thread / shape.channels;
  const std::int64_t channel = thread % shape.channels;
  float sum = 0.0F;
  float product = 0.0F;
  for (std::int64_t chunk = 0; chunk < shape.chunks(); ++chunk) {
    const std::int64_t place = (image * shape.chunks() + chunk) * shape.channels + channel;
    sum += call.chunk_sums[place];
    product += call.chunk_products[place];
  }
  call.by_bias[thread] = sum;
  call.by_weight[thread] = product;
}

// Threads: images x groups. Means over the group of weight times those sums, and the gradients by the shift: sums over
// pixels of those by the image (norm_by_image).
template <class T>
SOUP_THREAD void norm_group_slopes(const GpuNormBackward<T>& call, std::int64_t thread) {
  const GpuNormForward<T>& forward = call.forward;
  const std::int64_t count = forward.shape.group_channels();
  const std::int64_t first = thread * count;  // in [N, channels]
  const std::int64_t first_channel = thread % forward.shape.groups * count;
  float sum = 0.0F;
  float product = 0.0F;
  for (std::int64_t i = 0; i < count; ++i) {
    sum += forward.weight[first_channel + i] * call.by_bias[first + i];
    product += forward.weight[first_channel + i] * call.by_weight[first + i];
  }
  const auto pixels = static_cast<float>(forward.shape.pixels);
  sum /= pixels * static_cast<float>(count);
  product /= pixels * static_cast<float>(count);
  call.mean_sums[thread] = sum;
  call.mean_products[thread] = product;
  if (call.by_shift == nullptr) {
    return;
  }
  const float deviation = forward.inverse_deviations[thread];
  for (std::int64_t i = 0; i < count; ++i) {
    const float mean = forward.channel_means[first + i] + forward.shift[first + i] - forward.means[thread];
    call.by_shift[first + i] = deviation * (forward.weight[first_channel + i] * call.by_bias[first + i] -
                                            pixels * (sum + product * mean * deviation));
  }
}

// Threads: images x chunks x (channels / width). The chain rule through mean and deviation.
template <int width, class T>
SOUP_THREAD void norm_by_image(const GpuNormBackward<T>& call, std::int64_t thread) {
  const GpuNormShape& shape = call.forward.shape;
  const NormPlace<width> place(shape, thread);
  const NormMap<width> map(call.forward, place.image, place.channel);
  float sums[width];
  float products[width];
  for (int i = 0; i < width; ++i) {
    const std::int64_t group = place.image * shape.groups + (place.channel + i) / shape.group_channels();
    sums[i] = call.mean_sums[group];
    products[i] = call.mean_products[group];
  }
  for (std::int64_t pixel = place.begin; pixel < place.end; ++pixel) {
    float slopes[width];
    float normalised[width];
    norm_slopes(call, map, place.of_pixel(shape, pixel), slopes, normalised);
    for (int i = 0; i < width; ++i) {
      slopes[i] = map.deviation[i] * (map.weight[i] * slopes[i] - sums[i] - products[i] * normalised[i]);
    }
    store<width>(slopes, call.by_image + place.of_pixel(shape, pixel));
  }
}

}  // namespace soup
