// Doubles to the nearest integer, half to even, in operations that every vector unit has.
#pragma once

#include <bit>
#include <cstdint>

namespace soup {

// 1.5 * 2^52: adding it to a double of magnitude below 2^51 rounds that to an integer, half to even, and leaves the
// integer in the low bits. There is no packed double -> int64 before AVX-512, but this every vector unit has.
inline constexpr double shifter = 0x1.8p52;
inline constexpr auto shifter_bits = std::bit_cast<std::int64_t>(shifter);

// round_half_even(x) for |x| < 2^51.
inline std::int64_t round_small(double x) {
  // Unsigned, so that larger x, for which the result means nothing, are no undefined behaviour.
  return static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(x + shifter) -
                                   static_cast<std::uint64_t>(shifter_bits));
}

// round_half_even(x) for |x| < 2^62: x = high * 2^32 + low, both parts below 2^51. `low` is exact, and high * 2^32 is
// even, so the parity that decides ties is that of `low`.
inline std::int64_t round_any(double x) {
  const double high = x * 0x1p-32 + shifter;
  const std::int64_t high_integer = std::bit_cast<std::int64_t>(high) - shifter_bits;
  // Two's complement: shifting a negative number left is defined in C++20.
  return (high_integer << 32) + round_small(x - (high - shifter) * 0x1p32);
}

}  // namespace soup
