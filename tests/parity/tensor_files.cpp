// Named tensors in safetensors files.
#include "tests/parity/tensor_files.hpp"

#include <ATen/ATen.h>

#include <cstring>
#include <stdexcept>
#include <vector>

#include "core/safetensors.hpp"

namespace soup::parity {

void write_tensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors) {
  std::vector<at::Tensor> kept;
  std::vector<TensorSource> sources;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor values = kept.emplace_back(tensor.contiguous());
    const auto dtype = values.scalar_type() == at::kLong ? DType::i64 : DType::f32;
    sources.push_back(
        {name, dtype, values.sizes().vec(), {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}});
  }
  write_safetensors(path, sources, {});
}

std::map<std::string, at::Tensor> read_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  std::map<std::string, at::Tensor> tensors;
  for (const TensorInfo& info : file.tensors()) {
    if (info.dtype != DType::f32 && info.dtype != DType::i64) {
      throw std::runtime_error("unexpected type of " + info.name);
    }
    at::Tensor tensor = at::empty(info.shape, info.dtype == DType::f32 ? at::kFloat : at::kLong);
    std::memcpy(tensor.mutable_data_ptr(), file.bytes(info).data(), file.bytes(info).size());
    tensors[info.name] = tensor;
  }
  return tensors;
}

}  // namespace soup::parity
