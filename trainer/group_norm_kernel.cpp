// The loops run over channels, which lie side by side: the compiler turns them into vector instructions, and every
// channel's sum is taken in the order of the pixels whatever the width of the vectors, so all machines give the same
// bits. The C++ standard's exp() would be a call per pixel, hence the polynomial.
#include "trainer/group_norm_kernel.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <vector>

// One version of a loop per instruction set, chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__)
#define SOUP_VECTOR_VERSIONS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SOUP_VECTOR_VERSIONS
#endif

namespace soup {

namespace {

// exp(x) to about one unit in the last place for |x| <= 87; the value at +-87 beyond and at NaN, where sigmoids are 0
// or 1 anyway. x = n log 2 + r, |r| <= log(2) / 2; exp(r) by its Taylor series; log 2 in two parts (Cody and Waite
// 1980, chapter 6).
inline float exponential(float unbounded) {
  constexpr float most = 87.0F;
  constexpr float log2_e = 1.44269504F;
  constexpr float log_2_high = 0.693359375F;
  constexpr float log_2_low = -2.12194440e-4F;
  constexpr float to_integer = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number in the low bits
  // The magnitude of a float orders as its bits do; compilers make vectors of this, not of comparisons of floats.
  const auto bits = std::bit_cast<std::uint32_t>(unbounded);
  const auto magnitude = static_cast<std::int32_t>(bits & 0x7fffffffU);
  const auto bounded = static_cast<std::uint32_t>(std::min(magnitude, std::bit_cast<std::int32_t>(most)));
  const auto x = std::bit_cast<float>(bounded | (bits & 0x80000000U));
  const float shifted = x * log2_e + to_integer;
  const float n = shifted - to_integer;
  const float r = (x - n * log_2_high) - n * log_2_low;
  float series = 1.0F / 5040.0F;
  series = series * r + 1.0F / 720.0F;
  series = series * r + 1.0F / 120.0F;
  series = series * r + 1.0F / 24.0F;
  series = series * r + 1.0F / 6.0F;
  series = series * r + 0.5F;
  series = series * r + 1.0F;
  series = series * r + 1.0F;
  const std::int32_t exponent = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(to_integer);
  return series * std::bit_cast<float>((exponent + 127) << 23);
}

inline float sigmoid(float z) {
  return 1.0F / (1.0F + exponential(-z));
}

// sums[c] = sum over pixels of x[c]
SOUP_VECTOR_VERSIONS void add_up(std::int64_t pixels, std::int64_t channels, const float* __restrict x,
                                 float* __restrict sums) {
  for (std::int64_t c = 0; c < channels; ++c) {
    sums[c] = 0.0F;
  }
  for (std::int64_t p = 0; p < pixels; ++p, x += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      sums[c] += x[c];
    }
  }
}

// sums[c] = sum over pixels of (x[c] + offset[c])^2
SOUP_VECTOR_VERSIONS void add_up_squares(std::int64_t pixels, std::int64_t channels, const float* __restrict x,
                                         const float* __restrict offset, float* __restrict sums) {
  for (std::int64_t c = 0; c < channels; ++c) {
    sums[c] = 0.0F;
  }
  for (std::int64_t p = 0; p < pixels; ++p, x += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const float deviation = x[c] + offset[c];
      sums[c] += deviation * deviation;
    }
  }
}

// y = silu(scale * x + add)
SOUP_VECTOR_VERSIONS void apply(std::int64_t pixels, std::int64_t channels, const float* __restrict x,
                                const float* __restrict scale, const float* __restrict add, float* __restrict y) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, y += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const float z = scale[c] * x[c] + add[c];
      y[c] = z * sigmoid(z);
    }
  }
}

// With z = scale * x + add: dz = dy * silu'(z), and per channel the sums over pixels of dz, dz * (x + offset) and
// x + offset.
SOUP_VECTOR_VERSIONS void through_silu(std::int64_t pixels, std::int64_t channels, const float* __restrict x,
                                       const float* __restrict dy, const float* __restrict scale,
                                       const float* __restrict add, const float* __restrict offset,
                                       float* __restrict dz, float* __restrict sum_dz, float* __restrict sum_dz_x,
                                       float* __restrict sum_x) {
  for (std::int64_t c = 0; c < channels; ++c) {
    sum_dz[c] = 0.0F;
    sum_dz_x[c] = 0.0F;
    sum_x[c] = 0.0F;
  }
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, dy += channels, dz += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const float z = scale[c] * x[c] + add[c];
      const float s = sigmoid(z);
      const float gradient = dy[c] * s * (1.0F + z * (1.0F - s));
      const float deviation = x[c] + offset[c];
      dz[c] = gradient;
      sum_dz[c] += gradient;
      sum_dz_x[c] += gradient * deviation;
      sum_x[c] += deviation;
    }
  }
}

// dx = by_dz * dz + by_x * x + constant, in place of dz
SOUP_VECTOR_VERSIONS void combine(std::int64_t pixels, std::int64_t channels, const float* __restrict x,
                                  const float* __restrict by_dz, const float* __restrict by_x,
                                  const float* __restrict constant, float* __restrict dx) {
  for (std::int64_t p = 0; p < pixels; ++p, x += channels, dx += channels) {
    for (std::int64_t c = 0; c < channels; ++c) {
      dx[c] = by_dz[c] * dx[c] + by_x[c] * x[c] + constant[c];
    }
  }
}

// Rows of `channels` floats that live as long as one call.
class Scratch {
 public:
  Scratch(std::size_t rows, std::int64_t channels)
      : channels_(static_cast<std::size_t>(channels)), values_(rows * channels_) {}
  float* row(std::size_t index) { return values_.data() + index * channels_; }

 private:
  std::size_t channels_;
  std::vector<float> values_;
};

// image + offset is x - mean.
void offset_of(const NormShape& shape, const float* shift, const float* mean, float* offset) {
  const std::int64_t width = shape.channels / shape.groups;
  for (std::int64_t c = 0; c < shape.channels; ++c) {
    offset[c] = (shift != nullptr ? shift[c] : 0.0F) - mean[c / width];
  }
}

// z = scale * image + add is the normalised and affine value before SiLU.
void affine_of(const NormShape& shape, const NormInput& input, const float* offset, const float* inverse_deviation,
               float* scale, float* add) {
  const std::int64_t width = shape.channels / shape.groups;
  for (std::int64_t c = 0; c < shape.channels; ++c) {
    scale[c] = inverse_deviation[c / width] * input.weight[c];
    add[c] = offset[c] * scale[c] + input.bias[c];
  }
}

const float* row_or_null(const float* rows, std::int64_t index, std::int64_t width) {
  return rows != nullptr ? rows + index * width : nullptr;
}

}  // namespace

void group_norm_silu(const NormShape& shape, const NormInput& input, double epsilon, std::int64_t begin,
                     std::int64_t end, float* output, float* mean, float* inverse_deviation) {
  const auto [channels, pixels, groups] = shape;
  const std::int64_t width = channels / groups;
  const auto group_size = static_cast<double>(width * pixels);
  Scratch scratch(4, channels);
  float* const sums = scratch.row(0);
  float* const scale = scratch.row(1);
  float* const add = scratch.row(2);
  float* const offset = scratch.row(3);
  for (std::int64_t n = begin; n < end; ++n) {
    const float* const image = input.image + n * pixels * channels;
    const float* const shift = row_or_null(input.shift, n, channels);
    float* const means = mean + n * groups;
    float* const inverses = inverse_deviation + n * groups;
    add_up(pixels, channels, image, sums);
    for (std::int64_t g = 0; g < groups; ++g) {
      double sum = 0.0;
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        sum += sums[c] + (shift != nullptr ? static_cast<double>(shift[c]) * static_cast<double>(pixels) : 0.0);
      }
      means[g] = static_cast<float>(sum / group_size);
    }
    offset_of(shape, shift, means, offset);
    // Squares of deviations, not the mean of squares: nothing cancels where the mean is large.
    add_up_squares(pixels, channels, image, offset, sums);
    for (std::int64_t g = 0; g < groups; ++g) {
      double squares = 0.0;
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        squares += sums[c];
      }
      inverses[g] = static_cast<float>(1.0 / std::sqrt(squares / group_size + epsilon));
    }
    affine_of(shape, input, offset, inverses, scale, add);
    apply(pixels, channels, image, scale, add, output + n * pixels * channels);
  }
}

void group_norm_silu_backward(const NormShape& shape, const NormInput& input, const float* mean,
                              const float* inverse_deviation, const float* output_gradient, std::int64_t begin,
                              std::int64_t end, const NormGradients& gradients) {
  const auto [channels, pixels, groups] = shape;
  const std::int64_t width = channels / groups;
  const auto group_size = static_cast<double>(width * pixels);
  Scratch scratch(7, channels);
  float* const scale = scratch.row(0);
  float* const add = scratch.row(1);
  float* const offset = scratch.row(2);
  float* const sum_dz_x = scratch.row(3);
  float* const sum_x = scratch.row(4);
  float* const by_x = scratch.row(5);
  float* const constant = scratch.row(6);
  for (std::int64_t n = begin; n < end; ++n) {
    const float* const image = input.image + n * pixels * channels;
    float* const dx = gradients.image + n * pixels * channels;
    float* const sum_dz = gradients.bias + n * channels;
    const float* const inverses = inverse_deviation + n * groups;
    offset_of(shape, row_or_null(input.shift, n, channels), mean + n * groups, offset);
    affine_of(shape, input, offset, inverses, scale, add);
    through_silu(pixels, channels, image, output_gradient + n * pixels * channels, scale, add, offset, dx, sum_dz,
                 sum_dz_x, sum_x);
    for (std::int64_t g = 0; g < groups; ++g) {
      // dL/dx = inverse * (weight dz - mean(weight dz) - xhat mean(weight dz xhat)), xhat = inverse (x - mean), the
      // means over the group.
      const double inverse = inverses[g];
      double mean_dz = 0.0;
      double mean_dz_x = 0.0;
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        mean_dz += static_cast<double>(input.weight[c]) * sum_dz[c];
        mean_dz_x += static_cast<double>(input.weight[c]) * sum_dz_x[c];
      }
      mean_dz /= group_size;
      mean_dz_x /= group_size;
      const double slope = -inverse * inverse * inverse * mean_dz_x;
      for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
        by_x[c] = static_cast<float>(slope);
        constant[c] = static_cast<float>(slope * offset[c] - inverse * mean_dz);
        gradients.weight[n * channels + c] = static_cast<float>(inverse * sum_dz_x[c]);
        if (gradients.shift != nullptr) {
          gradients.shift[n * channels + c] =
              static_cast<float>(static_cast<double>(scale[c]) * sum_dz[c] + slope * sum_x[c] -
                                 static_cast<double>(pixels) * inverse * mean_dz);
        }
      }
    }
    combine(pixels, channels, image, scale, by_x, constant, dx);
  }
}

}  // namespace soup
