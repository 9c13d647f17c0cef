// The exact soup's arithmetic: quantise, add integers, divide once, round once (DESIGN promise 1).
#include "merge/fixed_point.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "core/error.hpp"

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
T magnitude(std::span<const T> values) {
  constexpr SignedBits<T> without_sign = std::numeric_limits<SignedBits<T>>::max();
  SignedBits<T> most = 0;
  for (const T value : values) {
    most = std::max(most, static_cast<SignedBits<T>>(std::bit_cast<SignedBits<T>>(value) & without_sign));
  }
  return std::bit_cast<T>(most);
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

bool in_range(double largest, std::int64_t total_weight, int scale_bits) {
  // fma rounds once, and rounding keeps the sign: the comparison is exact.
  constexpr double limit = 0x1p62;
  return std::fma(std::ldexp(largest, scale_bits), static_cast<double>(total_weight), -limit) < 0.0;
}

template <typename T>
double checked_largest(std::span<const T> values, std::string_view tensor, std::uint64_t first_index) {
  const T largest = magnitude(values);
  if (!std::isfinite(largest)) {
    refuse_not_finite(values, tensor, first_index);
  }
  return static_cast<double>(largest);
}

// round_half_even(x) for |x| < 2^62, in operations that vector units have (there is no packed double -> int64 before
// AVX-512): x = high * 2^32 + low, both parts below 2^51 and rounded by adding 1.5 * 2^52, whose last mantissa bit is
// worth 1. `low` is exact, and high * 2^32 is even, so the parity that decides ties is that of `low`.
inline std::int64_t round_half_even(double x) {
  constexpr double shifter = 0x1.8p52;
  constexpr auto shifter_bits = std::bit_cast<std::int64_t>(shifter);
  const double high = x * 0x1p-32 + shifter;
  const double low = (x - (high - shifter) * 0x1p32) + shifter;
  const std::int64_t high_integer = std::bit_cast<std::int64_t>(high) - shifter_bits;
  const std::int64_t low_integer = std::bit_cast<std::int64_t>(low) - shifter_bits;
  // Two's complement: shifting a negative number left is defined in C++20.
  return (high_integer << 32) + low_integer;
}

template <typename T>
double accumulate_any(std::span<const T> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                      std::string_view tensor, std::span<std::int64_t> sums, std::uint64_t first_index) {
  require_valid_scale(scale_bits, total_weight);
  SOUP_REQUIRE(values.size() == sums.size(), fmt::format("{} values into {} sums", values.size(), sums.size()));
  SOUP_REQUIRE(weight >= -total_weight && weight <= total_weight,
               fmt::format("weight {} in a soup of total weight {}", weight, total_weight));
  const double scale = std::ldexp(1.0, scale_bits);
  double largest = 0.0;
  for (std::size_t begin = 0; begin < values.size(); begin += cached_elements) {
    const std::size_t count = std::min(cached_elements, values.size() - begin);
    const std::span<const T> block = values.subspan(begin, count);
    const double block_largest = checked_largest(block, tensor, first_index + begin);
    if (!in_range(block_largest, total_weight, scale_bits)) {
      const auto at = std::ranges::find_if(block, [&](T value) { return std::abs(value) == block_largest; });
      require_in_range(
          block_largest, total_weight, scale_bits,
          fmt::format("{}, element {}", tensor, first_index + begin + static_cast<std::size_t>(at - block.begin())));
    }
    largest = std::max(largest, block_largest);
    std::int64_t* const out = sums.data() + begin;
    if (weight == 1) {
      for (std::size_t i = 0; i < count; ++i) {
        out[i] += round_half_even(static_cast<double>(block[i]) * scale);
      }
    } else {
      for (std::size_t i = 0; i < count; ++i) {
        out[i] += weight * round_half_even(static_cast<double>(block[i]) * scale);
      }
    }
  }
  return largest;
}

template <typename T>
void finish_any(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<T> soup) {
  require_valid_scale(scale_bits, total_weight);
  SOUP_REQUIRE(sums.size() == soup.size(), fmt::format("{} sums into {} weights", sums.size(), soup.size()));
  const auto divisor = static_cast<double>(total_weight);
  const double unit = std::ldexp(1.0, -scale_bits);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    soup[i] = static_cast<T>((static_cast<double>(sums[i]) / divisor) * unit);
  }
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

double largest_magnitude(std::span<const float> values, std::string_view tensor, std::uint64_t first_index) {
  return checked_largest(values, tensor, first_index);
}

double largest_magnitude(std::span<const double> values, std::string_view tensor, std::uint64_t first_index) {
  return checked_largest(values, tensor, first_index);
}

void require_in_range(double largest, std::int64_t total_weight, int scale_bits, std::string_view tensor) {
  require_valid_scale(scale_bits, total_weight);
  if (!in_range(largest, total_weight, scale_bits)) {
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
