// The exact soup's arithmetic: quantise, add integers, divide once, round once (DESIGN promise 1). Torch-free, no
// state.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace soup {

inline constexpr int default_scale_bits = 44;

// q(w) = round_half_even(w * 2^scale_bits); out[i] += weight * q(values[i]).
// Throws DataError naming `tensor` for NaN, Inf, or |w| * total_weight * 2^scale_bits >= 2^62. `total_weight` is N of
// the whole soup.
void accumulate(std::span<const float> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                std::string_view tensor, std::span<std::int64_t> sums);
// float((double(A) / double(N)) * 2^-scale_bits)
void finish(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<float> soup);

}  // namespace soup
