// The floating-point formats of model files, to and from float and double, on bytes that need no alignment.
#pragma once

#include <cstddef>
#include <span>

#include "core/safetensors.hpp"

namespace soup {

// F64, F32, F16 or BF16: what is averaged. Tensors of other types must be equal in all ingredients.
[[nodiscard]] bool is_floating(DType dtype);

// Exact. `dtype` is F32, F16 or BF16; bytes.size() == out.size() * size_of(dtype).
void decode(DType dtype, std::span<const std::byte> bytes, std::span<float> out);
// The same of any floating type.
void decode(DType dtype, std::span<const std::byte> bytes, std::span<double> out);
// One rounding, to nearest, ties to even; beyond the format's range to infinity.
void encode(std::span<const double> values, DType dtype, std::span<std::byte> out);

}  // namespace soup
