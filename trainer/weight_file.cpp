// A module's parameters in one safetensors file.
#include "trainer/weight_file.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include "core/error.hpp"
#include "core/safetensors.hpp"

namespace soup {
namespace {

constexpr std::size_t most_listed = 12;

std::optional<at::ScalarType> float_type(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return at::kDouble;
    case DType::f32:
      return at::kFloat;
    case DType::f16:
      return at::kHalf;
    case DType::bf16:
      return at::kBFloat16;
    default:
      return std::nullopt;
  }
}

void fill(const at::Tensor& parameter, std::span<const std::byte> bytes, at::ScalarType type) {
  // Copied, not viewed: a file's tensors need not be aligned to their element size.
  at::Tensor values = at::empty(parameter.sizes(), type);
  std::memcpy(values.mutable_data_ptr(), bytes.data(), bytes.size());
  parameter.copy_(values);
}

// Buffers of older transformers: counters, not weights.
bool is_derived(const std::string& name) {
  return name.ends_with("embeddings.position_ids");
}

void require_file(const std::filesystem::path& path) {
  if (std::filesystem::exists(path)) {
    return;
  }
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path())) {
    if (entry.path().extension() == ".bin") {
      throw DataError(path,
                      fmt::format("does not exist; {} beside it is a pickle, which is never opened",
                                  entry.path().filename().string()),
                      "convert it to safetensors with diffusers or transformers: save_pretrained()");
    }
  }
  throw DataError(path, "does not exist");
}

}  // namespace

void save_weights(const std::filesystem::path& path, const torch::nn::Module& module,
                  const std::map<std::string, std::string>& metadata, const std::string& prefix) {
  std::vector<at::Tensor> kept;
  std::vector<TensorSource> sources;
  for (const auto& item : module.named_parameters()) {
    const at::Tensor& values = kept.emplace_back(item.value().detach().to(at::kFloat).contiguous());
    sources.push_back(
        {prefix + item.key(), DType::f32, values.sizes().vec(),
         std::as_bytes(std::span(values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())))});
  }
  std::map<std::string, std::string> all = metadata;
  all["format"] = "pt";
  write_safetensors(path, sources, all);
}

void load_weights(const std::filesystem::path& path, torch::nn::Module& module, const std::string& optional_prefix) {
  require_file(path);
  const SafetensorsFile file(path);
  const at::NoGradGuard no_grad;
  std::vector<std::string> problems;
  std::set<std::string> used;
  for (const auto& item : module.named_parameters()) {
    const std::string& name = item.key();
    const TensorInfo* tensor = file.find(name);
    if (tensor == nullptr && !optional_prefix.empty()) {
      tensor = file.find(optional_prefix + name);
    }
    if (tensor == nullptr) {
      problems.push_back(fmt::format("{} is missing", name));
      continue;
    }
    used.insert(tensor->name);
    const std::vector<std::int64_t> shape = item.value().sizes().vec();
    const std::optional<at::ScalarType> type = float_type(tensor->dtype);
    if (tensor->shape != shape) {
      problems.push_back(fmt::format("{} has shape {}, the configuration needs {}", name, tensor->shape, shape));
    } else if (!type) {
      problems.push_back(fmt::format("{} has type {}, not a floating-point one", name, name_of(tensor->dtype)));
    } else {
      fill(item.value(), file.bytes(*tensor), *type);
    }
  }
  for (const TensorInfo& tensor : file.tensors()) {
    if (!used.contains(tensor.name) && !is_derived(tensor.name)) {
      problems.push_back(fmt::format("{} is not a tensor of this network", tensor.name));
    }
  }
  if (problems.empty()) {
    return;
  }
  const std::size_t listed = std::min(problems.size(), most_listed);
  std::string text = fmt::format("{} tensors do not fit the config.json beside it:", problems.size());
  for (std::size_t i = 0; i < listed; ++i) {
    text += "\n  " + problems[i];
  }
  if (listed < problems.size()) {
    text += fmt::format("\n  and {} more", problems.size() - listed);
  }
  throw DataError(path, text);
}

}  // namespace soup
