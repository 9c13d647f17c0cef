// The floating-point formats of model files, to and from float and double, on bytes that need no alignment.
#include "merge/float_formats.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
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

// A 16-bit format: bits of its mantissa, and the bias of its exponent. All that rounding to it needs is done in 64-bit
// integers and doubles of equal width, which the compiler vectorises.
template <int Mantissa, int Bias>
struct Narrow {
  static constexpr int dropped = 52 - Mantissa;  // bits of a double's mantissa
  static constexpr auto least_normal = std::int64_t{1024 - Bias} << 52;
  // 2^(1 - Bias - Mantissa), the unit of subnormal values, is the last place of this.
  static constexpr auto shifter_bits = (std::int64_t{1023 + 53 - Bias - Mantissa} << 52) | (std::int64_t{1} << 51);
  static constexpr std::int64_t infinity = std::int64_t{2 * Bias + 1} << Mantissa;
  // The least magnitude that rounds to infinity: halfway between the largest value and the next exponent.
  static constexpr std::int64_t first_beyond =
      (std::int64_t{1023 + Bias} << 52) | (((std::int64_t{1} << (Mantissa + 1)) - 1) << (dropped - 1));

  // Rounded once, half to even.
  static std::uint16_t of(double value) {
    const auto bits = std::bit_cast<std::int64_t>(value);
    const std::int64_t magnitude = bits & std::numeric_limits<std::int64_t>::max();
    // A carry out of the mantissa steps the exponent.
    const std::int64_t half_even = (std::int64_t{1} << (dropped - 1)) - 1 + ((magnitude >> dropped) & 1);
    const std::int64_t normal = ((magnitude + half_even) >> dropped) - (std::int64_t{1023 - Bias} << Mantissa);
    const double shifted = std::bit_cast<double>(magnitude) + std::bit_cast<double>(shifter_bits);
    const std::int64_t subnormal = std::bit_cast<std::int64_t>(shifted) - shifter_bits;
    std::int64_t code = magnitude < least_normal ? subnormal : normal;
    code = magnitude < first_beyond ? code : infinity;
    code |= (bits >> 48) & 0x8000;
    constexpr std::int64_t double_infinity = std::int64_t{0x7ff} << 52;
    constexpr std::int64_t quiet_nan = infinity | (std::int64_t{1} << (Mantissa - 1));
    return static_cast<std::uint16_t>(magnitude > double_infinity ? quiet_nan : code);
  }
};

using Half = Narrow<10, 15>;
using Bfloat = Narrow<7, 127>;

template <typename T>
inline T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
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

// Through a buffer that overlaps nothing, or the compiler would not vectorise.
template <typename Format>
[[gnu::always_inline]] inline void encode_narrow(const double* values, std::size_t count, std::byte* out) {
  std::array<std::uint16_t, cached_floats> codes;
  for (std::size_t begin = 0; begin < count; begin += cached_floats) {
    const std::size_t block = std::min(cached_floats, count - begin);
    for (std::size_t i = 0; i < block; ++i) {
      codes[i] = Format::of(values[begin + i]);
    }
    std::memcpy(out + 2 * begin, codes.data(), 2 * block);
  }
}

SOUP_SIMD void encode_half(const double* values, std::size_t count, std::byte* out) {
  encode_narrow<Half>(values, count, out);
}

SOUP_SIMD void encode_bfloat(const double* values, std::size_t count, std::byte* out) {
  encode_narrow<Bfloat>(values, count, out);
}

SOUP_SIMD void encode_float(const double* values, std::size_t count, std::byte* out) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(values[i]);
    std::memcpy(out + 4 * i, &value, sizeof(value));
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
