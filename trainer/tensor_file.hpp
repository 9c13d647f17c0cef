// Tensors in a safetensors file, by name: inputs and outputs that other programs make or read.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace soup {

// Float tensors of any width (as float32) and int64 ones; others are left out. Throws DataError.
[[nodiscard]] std::map<std::string, at::Tensor> read_tensors(const std::filesystem::path& path);
// float32 and int64 tensors. Complete or not at all.
void write_tensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors);

}  // namespace soup
