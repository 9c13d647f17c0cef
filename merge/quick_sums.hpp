// The exact soup's arithmetic where all is usual: the same bits as merge/fixed_point.hpp, in fewer passes over memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/safetensors.hpp"

namespace soup {

// accumulate() of several terms of weight 1 in one pass over the sums, where that can be done quickly: two or four
// terms whose weights are all below 2^51 / 2^scale_bits and pass the guards. `terms` are the bytes of their weights, of
// type F32, F16 or BF16. Sets largest[i] to the largest |value| of term i and returns true; otherwise returns false and
// leaves `sums` as they were. `fresh`: sums are taken to be zero, and are zero where false is returned.
bool accumulate_quickly(DType dtype, std::span<const std::span<const std::byte>> terms, std::int64_t total_weight,
                        int scale_bits, std::span<std::int64_t> sums, std::span<double> largest, bool fresh = false);

// finish() and encode() in one pass to the type F32, F16 or BF16, into out[0, sums.size() * size_of(dtype)). Returns
// false, with `out` undefined, for other types, for sums that reach 2^51, and for values that the type cannot hold.
bool finish_quickly(DType dtype, std::span<const std::int64_t> sums, std::int64_t total_weight, int scale_bits,
                    std::span<std::byte> out);

}  // namespace soup
