// How a soup keeps its integer sums beside its weights, so that ingredients can be added and removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/safetensors.hpp"

namespace soup {

// The folder inside a soup that keeps the sums, one file per weights file.
inline constexpr const char* accumulator_folder = "accumulator";

// wide: the sums as I64, 8 bytes a weight. compact: as I32 what the weight in F32 leaves of the sum, 4 bytes a weight.
enum class AccumulatorKind { none, compact, wide };

std::string_view name_of(AccumulatorKind kind);
// Throws ConfigError.
AccumulatorKind accumulator_kind(std::string_view name);

// Largest total weight of a soup with a compact accumulator: what is left of a sum then fits 32 bits for weights up to
// 2^5 (2^10 at total weight 4) at 44 bits of scale.
inline constexpr std::int64_t most_compact_weight = 128;

// `kind`, or wide where a soup of this total weight and type cannot have a compact one.
AccumulatorKind usable_kind(AccumulatorKind kind, std::int64_t total_weight, bool weights_are_f32);

// The type of the accumulator's tensors.
DType dtype_of(AccumulatorKind kind);

// Of `sums`, whose weights in F32 are `soup`: the accumulator's elements. round_half_even(w * N * 2^S) is taken off
// each, w being the weight; both products are exact because w has 24 bits and N at most 8. Throws DataError naming
// `tensor` when a rest does not fit 32 bits.
void encode_rests(std::span<const std::int64_t> sums, std::span<const float> soup, std::int64_t total_weight,
                  int scale_bits, std::string_view tensor, std::uint64_t first, std::span<std::int32_t> rests);
// The sums again.
void decode_rests(std::span<const std::int32_t> rests, std::span<const float> soup, std::int64_t total_weight,
                  int scale_bits, std::span<std::int64_t> sums);

}  // namespace soup
