// Tensors in a safetensors file, by name: inputs and outputs that other programs make or read.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "core/safetensors.hpp"

namespace soup {

// LibTorch's type of a file's floating-point or int64 tensors; nullopt for others.
[[nodiscard]] std::optional<at::ScalarType> scalar_type_of(DType dtype);
// A file's tensor in its own type, copied, since a file's tensors need not be aligned; nullopt where that is neither a
// floating-point type nor int64.
[[nodiscard]] std::optional<at::Tensor> tensor_of(const SafetensorsFile& file, const TensorInfo& info);

// Float tensors of any width (as float32) and int64 ones; others are left out. Throws DataError.
[[nodiscard]] std::map<std::string, at::Tensor> read_tensors(const std::filesystem::path& path);
// float32 and int64 tensors. Complete or not at all.
void write_tensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors);

}  // namespace soup
