// The floating-point formats of model files, to and from float and double, on bytes that need no alignment.
#include "merge/float_formats.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.hpp"
#include "core/simd.hpp"

namespace soup {

namespace {

// Values on their way to double, which stay in the first-level cache.
constexpr std::size_t cached_floats = 1024;

inline float float_of_half(std::uint16_t half) {
  // Exponent and mantissa moved to float's places are the value times 2^-112, also where it is subnormal.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fffU) << 13;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const bool special = (half & 0x7c00U) == 0x7c00U;  // Inf or NaN
  const std::uint32_t bits =
      special ? (magnitude | 0x7f800000U) : std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112F);
  return std::bit_cast<float>(bits | sign);
}

inline float float_of_bfloat(std::uint16_t bfloat) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bfloat) << 16);
}

// `value` rounded to odd: towards zero, with the last bit set when anything was lost. Rounding that once more to 16
// bits gives what one rounding from double would: the set bit breaks false ties.
inline std::uint32_t odd_float_bits(double value) {
  const auto nearest = static_cast<float>(value);
  const auto bits = std::bit_cast<std::uint32_t>(nearest);
  const double back = nearest;
  const bool beyond = std::fabs(back) > std::fabs(value);  // also when it became infinite
  const bool exact = back == value || value != value;
  return exact ? bits : ((bits - (beyond ? 1U : 0U)) | 1U);
}

inline std::uint16_t bfloat_of(double value) {
  const std::uint32_t bits = odd_float_bits(value);
  // A carry out of the mantissa steps the exponent, up to infinity.
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return static_cast<std::uint16_t>(value != value ? 0x7fc0U : rounded);
}

inline std::uint16_t half_of(double value) {
  const std::uint32_t bits = odd_float_bits(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  // Subnormal halves are multiples of 2^-24, the unit in the last place of 0.5: adding 0.5 rounds to them.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F);
  const std::uint32_t rebiased = magnitude - ((127U - 15U) << 23);
  const std::uint32_t normal = (rebiased + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
  constexpr std::uint32_t least_normal = 113U << 23;   // 2^-14
  constexpr std::uint32_t first_beyond = 0x477ff000U;  // 65520 rounds to infinity
  const std::uint32_t finite = magnitude < least_normal ? subnormal : normal;
  const std::uint32_t half = magnitude < first_beyond ? finite : 0x7c00U;
  return static_cast<std::uint16_t>(value != value ? 0x7e00U : (sign | half));
}

template <typename T>
inline T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
inline void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

SOUP_SIMD void decode_half(const std::byte* bytes, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = float_of_half(load<std::uint16_t>(bytes + 2 * i));
  }
}

SOUP_SIMD void decode_bfloat(const std::byte* bytes, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = float_of_bfloat(load<std::uint16_t>(bytes + 2 * i));
  }
}

SOUP_SIMD void widen(const float* from, std::size_t count, double* to) {
  for (std::size_t i = 0; i < count; ++i) {
    to[i] = from[i];
  }
}

SOUP_SIMD void encode_half(const double* values, std::size_t count, std::byte* out) {
  for (std::size_t i = 0; i < count; ++i) {
    store(out + 2 * i, half_of(values[i]));
  }
}

SOUP_SIMD void encode_bfloat(const double* values, std::size_t count, std::byte* out) {
  for (std::size_t i = 0; i < count; ++i) {
    store(out + 2 * i, bfloat_of(values[i]));
  }
}

SOUP_SIMD void encode_float(const double* values, std::size_t count, std::byte* out) {
  for (std::size_t i = 0; i < count; ++i) {
    store(out + 4 * i, static_cast<float>(values[i]));
  }
}

}  // namespace

bool is_floating(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

void decode(DType dtype, std::span<const std::byte> bytes, std::span<float> out) {
  SOUP_REQUIRE(bytes.size() == out.size() * size_of(dtype), "decode into a buffer of another size");
  switch (dtype) {
    case DType::f32:
      std::memcpy(out.data(), bytes.data(), bytes.size());
      return;
    case DType::f16:
      decode_half(bytes.data(), out.size(), out.data());
      return;
    case DType::bf16:
      decode_bfloat(bytes.data(), out.size(), out.data());
      return;
    default:
      throw InvariantError("decode of " + std::string(name_of(dtype)) + " to float");
  }
}

void decode(DType dtype, std::span<const std::byte> bytes, std::span<double> out) {
  SOUP_REQUIRE(bytes.size() == out.size() * size_of(dtype), "decode into a buffer of another size");
  if (dtype == DType::f64) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return;
  }
  std::array<float, cached_floats> floats;
  for (std::size_t begin = 0; begin < out.size(); begin += cached_floats) {
    const std::size_t count = std::min(cached_floats, out.size() - begin);
    decode(dtype, bytes.subspan(begin * size_of(dtype), count * size_of(dtype)), std::span(floats).first(count));
    widen(floats.data(), count, out.data() + begin);
  }
}

void encode(std::span<const double> values, DType dtype, std::span<std::byte> out) {
  SOUP_REQUIRE(out.size() == values.size() * size_of(dtype), "encode into a buffer of another size");
  switch (dtype) {
    case DType::f64:
      std::memcpy(out.data(), values.data(), out.size());
      return;
    case DType::f32:
      encode_float(values.data(), values.size(), out.data());
      return;
    case DType::f16:
      encode_half(values.data(), values.size(), out.data());
      return;
    case DType::bf16:
      encode_bfloat(values.data(), values.size(), out.data());
      return;
    default:
      throw InvariantError("encode to " + std::string(name_of(dtype)));
  }
}

}  // namespace soup
