// Values of the 16-bit floating-point formats, one at a time, in operations that the compiler vectorises.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace soup {

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

  // What to add to a double's bits, so that cutting off the dropped ones rounds half to even. A carry out of the
  // mantissa steps the exponent.
  static std::int64_t half_even(std::int64_t bits) {
    return (std::int64_t{1} << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
  }

  // Rounded once, half to even.
  static std::uint16_t of(double value) {
    const auto bits = std::bit_cast<std::int64_t>(value);
    const std::int64_t magnitude = bits & std::numeric_limits<std::int64_t>::max();
    const std::int64_t normal =
        ((magnitude + half_even(magnitude)) >> dropped) - (std::int64_t{1023 - Bias} << Mantissa);
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

// Bfloat::of for zero and magnitudes that its normal values cover: rounded as a double, which a float then holds.
inline std::uint16_t bfloat_of_normal(double value) {
  const auto bits = std::bit_cast<std::int64_t>(value);
  constexpr std::int64_t kept = -(std::int64_t{1} << Bfloat::dropped);
  const auto rounded = std::bit_cast<double>((bits + Bfloat::half_even(bits)) & kept);
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(rounded)) >> 16);
}

template <typename T>
inline T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

}  // namespace soup
