// The exact soup's arithmetic: quantise, add integers, divide once, round once (DESIGN promise 1). Torch-free, no
// state. All of it assumes the default rounding mode of IEEE 754, to nearest, ties to even.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace soup {

inline constexpr int default_scale_bits = 44;

// Throws ConfigError unless 1 <= scale_bits <= 52 and 1 <= total_weight <= 2^53 (so that both are exact as doubles).
void require_valid_scale(int scale_bits, std::int64_t total_weight);

// The largest |value|. Throws DataError naming `tensor`, index and value for the first NaN or Inf; indices are counted
// from `first_index`, for a caller that has a tensor in pieces.
double largest_magnitude(std::span<const float> values, std::string_view tensor, std::uint64_t first_index = 0);
double largest_magnitude(std::span<const double> values, std::string_view tensor, std::uint64_t first_index = 0);

// Whether largest * total_weight * 2^scale_bits < 2^62: sums of weights that pass cannot overflow. Decided exactly; NaN
// does not pass.
bool is_in_range(double largest, std::int64_t total_weight, int scale_bits);

// Throws DataError naming `tensor` for weights that are not in range.
void require_in_range(double largest, std::int64_t total_weight, int scale_bits, std::string_view tensor);

// q(w) = round_half_even(w * 2^scale_bits); sums[i] += weight * q(values[i]). The product with 2^S is exact in double,
// so there is one rounding. `weight` < 0 takes an ingredient out. `total_weight` is N of the whole soup; |weight| <= N.
// Returns the largest |value|. Throws DataError naming `tensor` and index for NaN, Inf, or
// |w| * total_weight * 2^scale_bits >= 2^62; `sums` is then partly written.
double accumulate(std::span<const float> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                  std::string_view tensor, std::span<std::int64_t> sums, std::uint64_t first_index = 0);
double accumulate(std::span<const double> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                  std::string_view tensor, std::span<std::int64_t> sums, std::uint64_t first_index = 0);

// float((double(A) / double(N)) * 2^-scale_bits), every step one IEEE operation; and the double before its rounding to
// float.
void finish(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<float> soup);
void finish(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<double> soup);

}  // namespace soup
