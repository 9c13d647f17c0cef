// Tensors in a safetensors file, by name.
#include "trainer/tensor_file.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "core/safetensors.hpp"

namespace soup {

std::optional<at::ScalarType> scalar_type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return at::kDouble;
    case DType::f32:
      return at::kFloat;
    case DType::f16:
      return at::kHalf;
    case DType::bf16:
      return at::kBFloat16;
    case DType::i64:
      return at::kLong;
    default:
      return std::nullopt;
  }
}

std::optional<at::Tensor> tensor_of(const SafetensorsFile& file, const TensorInfo& info) {
  const std::optional<at::ScalarType> type = scalar_type_of(info.dtype);
  if (!type) {
    return std::nullopt;
  }
  at::Tensor values = at::empty(info.shape, *type);
  const std::span<const std::byte> bytes = file.bytes(info);
  if (!bytes.empty()) {  // an empty tensor has no address
    std::memcpy(values.mutable_data_ptr(), bytes.data(), bytes.size());
  }
  return values;
}

std::map<std::string, at::Tensor> read_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  std::map<std::string, at::Tensor> tensors;
  for (const TensorInfo& info : file.tensors()) {
    if (const std::optional<at::Tensor> values = tensor_of(file, info)) {
      tensors[info.name] = values->is_floating_point() ? values->to(at::kFloat) : *values;
    }
  }
  return tensors;
}

void write_tensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors) {
  std::vector<at::Tensor> kept;
  std::vector<TensorSource> sources;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& values = kept.emplace_back(tensor.detach().cpu().contiguous());
    SOUP_REQUIRE(values.scalar_type() == at::kFloat || values.scalar_type() == at::kLong,
                 fmt::format("tensor {} is neither float32 nor int64", name));
    sources.push_back({name,
                       values.scalar_type() == at::kLong ? DType::i64 : DType::f32,
                       values.sizes().vec(),
                       {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()}});
  }
  write_safetensors(path, sources, {});
}

}  // namespace soup
