// The exact soup's arithmetic: quantise, add integers, divide once, round once (DESIGN promise 1).
#include "merge/fixed_point.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/error.hpp"
#include "core/simd.hpp"
#include "merge/rounding.hpp"

namespace soup {

namespace {

static_assert(std::numeric_limits<float>::is_iec559 && std::numeric_limits<double>::is_iec559);

// Elements checked, then quantised, while they stay in the first-level cache.
constexpr std::size_t cached_elements = 2048;

template <typename T>
using SignedBits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

// IEEE magnitudes order as their bits do, with Inf and NaN above all numbers: an integer maximum, which the compiler
// vectorises, finds the largest and anything not finite in one pass.
template <typename T>
[[gnu::always_inline]] inline T largest_of(const T* values, std::size_t count) {
  constexpr SignedBits<T> without_sign = std::numeric_limits<SignedBits<T>>::max();
  SignedBits<T> most = 0;
  for (std::size_t i = 0; i < count; ++i) {
    most = std::max(most, static_cast<SignedBits<T>>(std::bit_cast<SignedBits<T>>(values[i]) & without_sign));
  }
  return std::bit_cast<T>(most);
}

SOUP_SIMD float magnitude(const float* values, std::size_t count) {
  return largest_of(values, count);
}

SOUP_SIMD double magnitude(const double* values, std::size_t count) {
  return largest_of(values, count);
}

template <typename T>
[[noreturn]] void refuse_not_finite(std::span<const T> values, std::string_view tensor, std::uint64_t first_index) {
  std::size_t index = 0;
  while (index + 1 < values.size() && std::isfinite(values[index])) {
    ++index;
  }
  throw DataError(std::string(tensor), fmt::format("element {} is {}", first_index + index, values[index]),
                  "a model with such weights cannot be averaged: train it again from its last good checkpoint");
}

// 2^bits for the bits of a scale; std::ldexp is a call, which counts where it is made for every strip.
double power_of_two(int bits) {
  return static_cast<double>(std::uint64_t{1} << bits);
}

template <typename T>
double checked_largest(std::span<const T> values, std::string_view tensor, std::uint64_t first_index) {
  const T largest = magnitude(values.data(), values.size());
  if (!std::isfinite(largest)) {
    refuse_not_finite(values, tensor, first_index);
  }
  return static_cast<double>(largest);
}

inline std::int64_t wrapping_add(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

inline std::int64_t wrapping_multiply(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

// Adds weight * round(value * scale), and returns the largest magnitude, in one pass. With `Small` the sums are only
// right where that is below 2^51 / scale; what is then added to them is wrong but still a function of the value alone.
template <typename T, bool Small>
[[gnu::always_inline]] inline T add_rounded(const T* values, std::size_t count, double scale, std::int64_t weight,
                                            std::int64_t* sums) {
  const auto round = [](double x) { return Small ? round_small(x) : round_any(x); };
  constexpr SignedBits<T> without_sign = std::numeric_limits<SignedBits<T>>::max();
  SignedBits<T> most = 0;
  if (weight == 1) {
    for (std::size_t i = 0; i < count; ++i) {
      most = std::max(most, static_cast<SignedBits<T>>(std::bit_cast<SignedBits<T>>(values[i]) & without_sign));
      sums[i] = wrapping_add(sums[i], round(static_cast<double>(values[i]) * scale));
    }
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      most = std::max(most, static_cast<SignedBits<T>>(std::bit_cast<SignedBits<T>>(values[i]) & without_sign));
      sums[i] = wrapping_add(sums[i], wrapping_multiply(weight, round(static_cast<double>(values[i]) * scale)));
    }
  }
  return std::bit_cast<T>(most);
}

SOUP_SIMD float add_small(const float* values, std::size_t count, double scale, std::int64_t weight,
                          std::int64_t* sums) {
  return add_rounded<float, true>(values, count, scale, weight, sums);
}

SOUP_SIMD double add_small(const double* values, std::size_t count, double scale, std::int64_t weight,
                           std::int64_t* sums) {
  return add_rounded<double, true>(values, count, scale, weight, sums);
}

SOUP_SIMD void add_any(const float* values, std::size_t count, double scale, std::int64_t weight, std::int64_t* sums) {
  add_rounded<float, false>(values, count, scale, weight, sums);
}

SOUP_SIMD void add_any(const double* values, std::size_t count, double scale, std::int64_t weight, std::int64_t* sums) {
  add_rounded<double, false>(values, count, scale, weight, sums);
}

template <typename T>
double accumulate_any(std::span<const T> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                      std::string_view tensor, std::span<std::int64_t> sums, std::uint64_t first_index) {
  require_valid_scale(scale_bits, total_weight);
  SOUP_REQUIRE(values.size() == sums.size(), fmt::format("{} values into {} sums", values.size(), sums.size()));
  SOUP_REQUIRE(weight >= -total_weight && weight <= total_weight,
               fmt::format("weight {} in a soup of total weight {}", weight, total_weight));
  const double scale = power_of_two(scale_bits);
  double largest = 0.0;
  for (std::size_t begin = 0; begin < values.size(); begin += cached_elements) {
    const std::size_t count = std::min(cached_elements, values.size() - begin);
    const std::span<const T> block = values.subspan(begin, count);
    std::int64_t* const out = sums.data() + begin;
    // Weights of models are far below 2^51 / 2^S, so the quick way is tried first. Where it was not allowed, adding its
    // integers with the opposite sign restores the sums: they wrap around, so nothing is lost.
    const T found = add_small(block.data(), count, scale, weight, out);
    const bool quick = static_cast<double>(found) * scale < 0x1p51;
    if (!quick) {
      add_small(block.data(), count, scale, -weight, out);
    }
    const double block_largest = quick ? found : checked_largest(block, tensor, first_index + begin);
    if (!is_in_range(block_largest, total_weight, scale_bits)) {
      const auto at = std::ranges::find_if(block, [&](T value) { return std::abs(value) == block_largest; });
      require_in_range(
          block_largest, total_weight, scale_bits,
          fmt::format("{}, element {}", tensor, first_index + begin + static_cast<std::size_t>(at - block.begin())));
    }
    largest = std::max(largest, block_largest);
    if (!quick) {
      add_any(block.data(), count, scale, weight, out);
    }
  }
  return largest;
}

// double(sum), correctly rounded, without the conversion that vectors lack before AVX-512: both halves are exact, so
// their sum rounds once. The sign bit is flipped to make the upper half unsigned, and its weight taken off again.
inline double double_of(std::int64_t sum) {
  constexpr auto two52_bits = std::bit_cast<std::uint64_t>(0x1p52);
  const std::uint64_t flipped = static_cast<std::uint64_t>(sum) ^ (std::uint64_t{1} << 63);
  const double high = std::bit_cast<double>((flipped >> 32) | two52_bits) - (0x1p52 + 0x1p31);
  const double low = std::bit_cast<double>((flipped & 0xffffffffU) | two52_bits) - 0x1p52;
  return high * 0x1p32 + low;
}

template <typename T>
[[gnu::always_inline]] inline void divide(const std::int64_t* sums, std::size_t count, double divisor, double unit,
                                          T* soup) {
  for (std::size_t i = 0; i < count; ++i) {
    soup[i] = static_cast<T>((double_of(sums[i]) / divisor) * unit);
  }
}

SOUP_SIMD void divide_all(const std::int64_t* sums, std::size_t count, double divisor, double unit, float* soup) {
  divide(sums, count, divisor, unit, soup);
}

SOUP_SIMD void divide_all(const std::int64_t* sums, std::size_t count, double divisor, double unit, double* soup) {
  divide(sums, count, divisor, unit, soup);
}

template <typename T>
void finish_any(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<T> soup) {
  require_valid_scale(scale_bits, total_weight);
  SOUP_REQUIRE(sums.size() == soup.size(), fmt::format("{} sums into {} weights", sums.size(), soup.size()));
  divide_all(sums.data(), sums.size(), static_cast<double>(total_weight), 1.0 / power_of_two(scale_bits), soup.data());
}

}  // namespace

void require_valid_scale(int scale_bits, std::int64_t total_weight) {
  if (scale_bits < 1 || scale_bits > 52) {
    throw ConfigError(fmt::format("scale_bits is {}, but must be from 1 to 52", scale_bits),
                      fmt::format("{} suits models whose weights lie between 2^-21 and 2^17", default_scale_bits));
  }
  if (total_weight < 1 || total_weight > (std::int64_t{1} << 53)) {
    throw ConfigError(fmt::format(
        "the ingredients' weights add up to {}, but must add up to 1 or more and at most 2^53", total_weight));
  }
}

bool is_in_range(double largest, std::int64_t total_weight, int scale_bits) {
  // fma rounds once, and rounding keeps the sign: the comparison is exact.
  constexpr double limit = 0x1p62;
  return std::fma(largest * power_of_two(scale_bits), static_cast<double>(total_weight), -limit) < 0.0;
}

double largest_magnitude(std::span<const float> values, std::string_view tensor, std::uint64_t first_index) {
  return checked_largest(values, tensor, first_index);
}

double largest_magnitude(std::span<const double> values, std::string_view tensor, std::uint64_t first_index) {
  return checked_largest(values, tensor, first_index);
}

void require_in_range(double largest, std::int64_t total_weight, int scale_bits, std::string_view tensor) {
  require_valid_scale(scale_bits, total_weight);
  if (!is_in_range(largest, total_weight, scale_bits)) {
    throw DataError(std::string(tensor),
                    fmt::format("|w| = {:.9g} times the total weight {} times 2^{} reaches 2^62 and could overflow",
                                largest, total_weight, scale_bits),
                    "smaller scale_bits or smaller integer weights make room, for the whole lineage of the soup");
  }
}

double accumulate(std::span<const float> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                  std::string_view tensor, std::span<std::int64_t> sums, std::uint64_t first_index) {
  return accumulate_any(values, weight, total_weight, scale_bits, tensor, sums, first_index);
}

double accumulate(std::span<const double> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                  std::string_view tensor, std::span<std::int64_t> sums, std::uint64_t first_index) {
  return accumulate_any(values, weight, total_weight, scale_bits, tensor, sums, first_index);
}

void finish(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<float> soup) {
  finish_any(sums, total_weight, scale_bits, soup);
}

void finish(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<double> soup) {
  finish_any(sums, total_weight, scale_bits, soup);
}

}  // namespace soup
