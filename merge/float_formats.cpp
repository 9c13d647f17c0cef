// The floating-point formats of model files, to and from float and double, on bytes that need no alignment.
#include "merge/float_formats.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.hpp"
#include "core/simd.hpp"
#include "merge/narrow_floats.hpp"

namespace soup {

namespace {

// Values on their way to double, which stay in the first-level cache.
constexpr std::size_t cached_floats = 1024;

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
