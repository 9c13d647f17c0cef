// Reads tests/fixtures/parity.
#include "tests/trainer/fixture.hpp"

#include <ATen/ATen.h>

#include <stdexcept>

#include "core/atomic_file.hpp"

namespace soup::test {

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(SOUP_SOURCE_DIR) / "tests" / "fixtures" / "parity" / name;
}

nlohmann::json read_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(read_file(path));
}

double relative_error(const at::Tensor& found, const at::Tensor& expected) {
  if (found.sizes() != expected.sizes()) {
    throw std::runtime_error("shapes differ");
  }
  return ((found - expected).abs().max() / expected.abs().max()).item<double>();
}

}  // namespace soup::test
