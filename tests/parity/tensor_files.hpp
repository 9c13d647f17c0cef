// Named tensors in safetensors files, for the programs that the parity scripts run.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace soup::parity {

// float32 and int64 tensors.
void write_tensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors);
std::map<std::string, at::Tensor> read_tensors(const std::filesystem::path& path);

}  // namespace soup::parity
