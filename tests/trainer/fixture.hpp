// Reads tests/fixtures/parity, which tests/parity/make_fixtures.py made with diffusers and transformers.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace soup::test {

[[nodiscard]] std::filesystem::path fixture(const std::string& name);
[[nodiscard]] nlohmann::json read_json(const std::filesystem::path& path);
// All tensors of a safetensors file (float32 and int64).
[[nodiscard]] std::map<std::string, at::Tensor> read_tensors(const std::filesystem::path& path);
// max |found - expected| / max |expected|.
[[nodiscard]] double relative_error(const at::Tensor& found, const at::Tensor& expected);

}  // namespace soup::test
