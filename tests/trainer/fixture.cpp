// Reads tests/fixtures/parity.
#include "tests/trainer/fixture.hpp"

#include <ATen/ATen.h>

#include <cstring>
#include <stdexcept>

#include "core/atomic_file.hpp"
#include "core/safetensors.hpp"

namespace soup::test {

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(SOUP_SOURCE_DIR) / "tests" / "fixtures" / "parity" / name;
}

nlohmann::json read_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(read_file(path));
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

double relative_error(const at::Tensor& found, const at::Tensor& expected) {
  if (found.sizes() != expected.sizes()) {
    throw std::runtime_error("shapes differ");
  }
  return ((found - expected).abs().max() / expected.abs().max()).item<double>();
}

}  // namespace soup::test
