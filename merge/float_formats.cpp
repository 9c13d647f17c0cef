// The floating-point formats of model files, to and from float and double, on bytes that need no alignment.
#include "merge/float_formats.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.hpp"

namespace soup {

namespace {

float float_of_half(std::uint16_t half) {
  // Exponent and mantissa moved to float's places are the value times 2^-112, also where it is subnormal.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fffU) << 13;
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const bool special = (half & 0x7c00U) == 0x7c00U;  // Inf or NaN
  const std::uint32_t bits =
      special ? (magnitude | 0x7f800000U) : std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112F);
  return std::bit_cast<float>(bits | sign);
}

float float_of_bfloat(std::uint16_t bfloat) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bfloat) << 16);
}

// Bits of `value` in a 16-bit format with these many exponent and mantissa bits.
std::uint16_t round_to_16_bits(double value, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000U : 0U);
  const double magnitude = std::fabs(value);
  const auto infinity = static_cast<std::uint16_t>(((1U << exponent_bits) - 1U) << mantissa_bits);
  if (std::isnan(value)) {
    return static_cast<std::uint16_t>(sign | infinity | 1U);
  }
  // The unit in the last place at this magnitude; subnormals share that of the smallest normal numbers.
  const int exponent = magnitude == 0.0 ? 1 - bias : std::max(std::min(std::ilogb(magnitude), bias + 1), 1 - bias);
  const double units = std::nearbyint(std::ldexp(magnitude, mantissa_bits - exponent));
  // Adding the units to the bits of the binade carries into the exponent where rounding reaches the next power of two;
  // units of normal numbers contain the hidden bit, which is worth one exponent step.
  const double bits = std::ldexp(static_cast<double>(exponent + bias - 1), mantissa_bits) + units;
  return static_cast<std::uint16_t>(sign | (bits >= infinity ? infinity : static_cast<std::uint16_t>(bits)));
}

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
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
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = float_of_half(load<std::uint16_t>(bytes.data() + 2 * i));
      }
      return;
    case DType::bf16:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = float_of_bfloat(load<std::uint16_t>(bytes.data() + 2 * i));
      }
      return;
    default:
      throw InvariantError("decode of " + std::string(name_of(dtype)) + " to float");
  }
}

void decode(std::span<const std::byte> bytes, std::span<double> out) {
  SOUP_REQUIRE(bytes.size() == out.size() * sizeof(double), "decode into a buffer of another size");
  std::memcpy(out.data(), bytes.data(), bytes.size());
}

void encode(std::span<const double> values, DType dtype, std::span<std::byte> out) {
  SOUP_REQUIRE(out.size() == values.size() * size_of(dtype), "encode into a buffer of another size");
  const auto store = [&](auto convert) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto converted = convert(values[i]);
      std::memcpy(out.data() + i * sizeof(converted), &converted, sizeof(converted));
    }
  };
  switch (dtype) {
    case DType::f64:
      std::memcpy(out.data(), values.data(), out.size());
      return;
    case DType::f32:
      store([](double value) { return static_cast<float>(value); });
      return;
    case DType::f16:
      store([](double value) { return round_to_16_bits(value, 5, 10); });
      return;
    case DType::bf16:
      store([](double value) { return round_to_16_bits(value, 8, 7); });
      return;
    default:
      throw InvariantError("encode to " + std::string(name_of(dtype)));
  }
}

}  // namespace soup
