// Reads tests/fixtures/parity, which tests/parity/make_fixtures.py made with diffusers and transformers.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "trainer/tensor_file.hpp"

namespace soup::test {

[[nodiscard]] std::filesystem::path fixture(const std::string& name);
[[nodiscard]] nlohmann::json read_json(const std::filesystem::path& path);
// max |found - expected| / max |expected|.
[[nodiscard]] double relative_error(const at::Tensor& found, const at::Tensor& expected);

}  // namespace soup::test
