// F16 and BF16 to float and back: all 65,536 bit patterns, midpoints, ties and overflow.
#include "merge/float_formats.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/error.hpp"
#include "core/random.hpp"

namespace soup {
namespace {

double half_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const double mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1.0 + mantissa / 1024.0, exponent - 15);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

template <typename T>
std::span<const std::byte> bytes_of(const T& values) {
  return std::as_bytes(std::span(values));
}

std::vector<std::uint16_t> encoded(const std::vector<double>& values, DType dtype) {
  std::vector<std::uint16_t> bits(values.size());
  encode(values, dtype, std::as_writable_bytes(std::span(bits)));
  return bits;
}

TEST(FloatFormats, EveryHalfDecodesExactlyAndComesBack) {
  std::vector<std::uint16_t> bits;
  for (std::uint32_t pattern = 0; pattern < 65536; ++pattern) {
    if ((pattern & 0x7c00U) != 0x7c00U) {
      bits.push_back(static_cast<std::uint16_t>(pattern));
    }
  }
  std::vector<float> values(bits.size());
  decode(DType::f16, bytes_of(bits), values);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    ASSERT_EQ(static_cast<double>(values[i]), half_value(bits[i])) << bits[i];
  }
  EXPECT_EQ(encoded(std::vector<double>(values.begin(), values.end()), DType::f16), bits);
}

TEST(FloatFormats, EveryBfloatComesBack) {
  std::vector<std::uint16_t> bits;
  for (std::uint32_t pattern = 0; pattern < 65536; ++pattern) {
    if ((pattern & 0x7f80U) != 0x7f80U) {
      bits.push_back(static_cast<std::uint16_t>(pattern));
    }
  }
  std::vector<float> values(bits.size());
  decode(DType::bf16, bytes_of(bits), values);
  EXPECT_EQ(values[1], std::ldexp(1.0F, -133));
  EXPECT_EQ(encoded(std::vector<double>(values.begin(), values.end()), DType::bf16), bits);
}

TEST(FloatFormats, HalvesRoundToEvenAtMidpointsOnceFromDouble) {
  for (std::uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const double middle = (half_value(bits) + half_value(static_cast<std::uint16_t>(bits + 1))) / 2.0;
    const auto even = static_cast<std::uint16_t>(bits + (bits & 1));
    ASSERT_EQ(encoded({middle}, DType::f16)[0], even) << middle;
    // So little above the middle that a step over float would land on the tie.
    ASSERT_EQ(encoded({std::nextafter(middle, 1e9)}, DType::f16)[0], bits + 1) << middle;
    ASSERT_EQ(encoded({-std::nextafter(middle, 0.0)}, DType::f16)[0], 0x8000 + bits) << middle;
  }
}

// The definition, one value at a time: the mantissa in units of the last place, rounded by nearbyint.
std::uint16_t rounded_by_definition(double value, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const auto infinity = static_cast<double>(((1U << exponent_bits) - 1U) << mantissa_bits);
  const double magnitude = std::fabs(value);
  const int exponent = magnitude == 0.0 ? 1 - bias : std::max(std::min(std::ilogb(magnitude), bias + 1), 1 - bias);
  const double units = std::nearbyint(std::ldexp(magnitude, mantissa_bits - exponent));
  const double bits = std::ldexp(static_cast<double>(exponent + bias - 1), mantissa_bits) + units;
  return static_cast<std::uint16_t>((std::signbit(value) ? 0x8000U : 0U) |
                                    static_cast<std::uint32_t>(std::min(bits, infinity)));
}

TEST(FloatFormats, AllMagnitudesOfDoublesRoundOnce) {
  RandomStream stream(3, 0);
  std::vector<double> values;
  for (int exponent = -160; exponent <= 140; ++exponent) {
    for (int i = 0; i < 200; ++i) {
      // Few set bits make ties and near-ties likely.
      const double mantissa = std::ldexp(static_cast<double>(stream.next_u64() >> 53 << stream.below(42)), -52);
      const double value = std::ldexp(1.0 + mantissa + (i % 3 == 0 ? 0x1p-52 : 0.0), exponent);
      values.push_back(i % 2 == 0 ? value : -value);
    }
  }
  const std::vector<std::uint16_t> halves = encoded(values, DType::f16);
  const std::vector<std::uint16_t> bfloats = encoded(values, DType::bf16);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(halves[i], rounded_by_definition(values[i], 5, 10)) << values[i];
    ASSERT_EQ(bfloats[i], rounded_by_definition(values[i], 8, 7)) << values[i];
  }
}

TEST(FloatFormats, SpecialValues) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(encoded({65519.0, 65520.0, infinity, -1e300, -0.0}, DType::f16),
            (std::vector<std::uint16_t>{0x7bff, 0x7c00, 0x7c00, 0xfc00, 0x8000}));
  EXPECT_EQ(encoded({infinity, 1e300, 1.0, -0x1p-133}, DType::bf16),
            (std::vector<std::uint16_t>{0x7f80, 0x7f80, 0x3f80, 0x8001}));
  std::vector<float> values(3);
  decode(DType::f16, bytes_of(std::array<std::uint16_t, 3>{0x7c00, 0xfc00, 0x7e00}), values);
  EXPECT_EQ(values[0], std::numeric_limits<float>::infinity());
  EXPECT_EQ(values[1], -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(values[2]));
  EXPECT_EQ(encoded({std::nan("")}, DType::f16)[0] & 0x7c00, 0x7c00);
}

TEST(FloatFormats, KnowsWhatIsFloating) {
  EXPECT_TRUE(is_floating(DType::f64) && is_floating(DType::f32) && is_floating(DType::f16) &&
              is_floating(DType::bf16));
  EXPECT_FALSE(is_floating(DType::i64) || is_floating(DType::u8) || is_floating(DType::boolean));
  std::vector<float> out(1);
  EXPECT_THROW(decode(DType::i32, bytes_of(std::array<std::int32_t, 1>{}), out), InvariantError);
  EXPECT_THROW(decode(DType::f32, {}, out), InvariantError);
}

}  // namespace
}  // namespace soup
