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

// Throws DataError naming `tensor` when largest * total_weight * 2^scale_bits >= 2^62: sums of weights that pass cannot
// overflow. Decided exactly.
void require_in_range(double largest, std::int64_t total_weight, int scale_bits, std::string_view tensor);

// q(w) = round_half_even(w * 2^scale_bits); sums[i] += weight * q(values[i]). The product with 2^S is exact in double,
// so there is one rounding. `weight` < 0 takes an ingredient out. `total_weight` is N of the whole soup; |weight| <= N.
// Returns the largest |value|. Throws DataError naming `tensor` and index for NaN, Inf, or
// |w| * total_weight * 2^scale_bits >= 2^62; `sums` is then partly written.
double accumulate(std::span<const float> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                  std::string_view tensor, std::span<std::int64_t> sums, std::uint64_t first_index = 0);
double accumulate(std::span<const double> values, std::int64_t weight, std::int64_t total_weight, int scale_bits,
                  std::string_view tensor, std::span<std::int64_t> sums, std::uint64_t first_index = 0);

// accumulate() of several terms of weight 1 in one pass over the sums, where that can be done quickly: two or four
// terms whose weights are all below 2^51 / 2^scale_bits and pass the guards. Sets largest[i] to the largest |value| of
// term i and returns true; otherwise returns false and leaves `sums` as they were. `fresh`: sums are taken to be zero,
// and are zero where false is returned.
bool accumulate_quickly(std::span<const std::span<const float>> terms, std::int64_t total_weight, int scale_bits,
                        std::span<std::int64_t> sums, std::span<double> largest, bool fresh = false);

// float((double(A) / double(N)) * 2^-scale_bits), every step one IEEE operation; and the double before its rounding to
// float.
void finish(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<float> soup);
void finish(std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits, std::span<double> soup);

}  // namespace soup
