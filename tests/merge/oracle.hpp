// The soup computed a second way: exact integers of 128 bits from the bits of each weight, one rounding at the end.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/random.hpp"

namespace soup::test {

__extension__ using Int128 = __int128;

// w * 2^scale_bits rounded half to even, by shifting the integer mantissa.
inline Int128 quantised(float w, int scale_bits) {
  const auto bits = std::bit_cast<std::uint32_t>(w);
  const int field = static_cast<int>((bits >> 23) & 0xff);
  Int128 mantissa = bits & 0x7fffff;
  mantissa += field != 0 ? 0x800000 : 0;
  const int shift = (field != 0 ? field : 1) - 127 - 23 + scale_bits;
  Int128 magnitude = 0;
  if (shift >= 0) {
    magnitude = mantissa << shift;
  } else if (shift > -30) {
    const Int128 unit = Int128{1} << -shift;
    const Int128 rest = mantissa % unit;
    magnitude = mantissa / unit;
    if (2 * rest > unit || (2 * rest == unit && magnitude % 2 == 1)) {
      ++magnitude;
    }
  }
  return (bits >> 31) != 0 ? -magnitude : magnitude;
}

struct OracleTerm {
  std::span<const float> weights;
  std::int64_t weight = 1;
};

inline std::vector<std::int64_t> oracle_sums(const std::vector<OracleTerm>& terms, int scale_bits) {
  std::vector<std::int64_t> sums(terms.front().weights.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    Int128 sum = 0;
    for (const OracleTerm& term : terms) {
      sum += quantised(term.weights[i], scale_bits) * term.weight;
    }
    sums[i] = static_cast<std::int64_t>(sum);
  }
  return sums;
}

inline std::vector<float> oracle_soup(const std::vector<OracleTerm>& terms, int scale_bits) {
  std::int64_t total = 0;
  for (const OracleTerm& term : terms) {
    total += term.weight;
  }
  std::vector<float> soup;
  for (const std::int64_t sum : oracle_sums(terms, scale_bits)) {
    soup.push_back(static_cast<float>(static_cast<double>(sum) / static_cast<double>(total) / std::exp2(scale_bits)));
  }
  return soup;
}

// Floats of all magnitudes below 2^limit, both signs, subnormals and zeros too.
inline std::vector<float> floats_below(int limit, std::size_t count, std::uint64_t seed) {
  RandomStream stream(seed, 7);
  std::vector<float> values{0.0F, -0.0F, std::numeric_limits<float>::denorm_min(), -std::numeric_limits<float>::min()};
  while (values.size() < count) {
    const auto mantissa = static_cast<float>(1.0 + stream.uniform());
    const int exponent = static_cast<int>(stream.below(static_cast<std::uint64_t>(limit + 149))) - 149;
    values.push_back(std::ldexp(stream.below(2) == 0 ? mantissa : -mantissa, exponent));
  }
  return values;
}

}  // namespace soup::test
