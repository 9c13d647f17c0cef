// A module's parameters in safetensors files.
#include "trainer/weight_file.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "trainer/tensor_file.hpp"

namespace soup {
namespace {

constexpr std::size_t most_listed = 12;

// Buffers of older transformers: counters, not weights.
bool is_derived(const std::string& name) {
  return name.ends_with("embeddings.position_ids");
}

// A file's tensor behind its current name.
struct Found {
  const SafetensorsFile* file = nullptr;
  const TensorInfo* tensor = nullptr;
};

// What is wrong with the tensor found for the parameter `name`, which it fills otherwise; "" when nothing is.
std::string fill_parameter(const std::string& name, const at::Tensor& parameter, const Found& found) {
  std::vector<std::int64_t> shape = found.tensor->shape;
  if (name != found.tensor->name && shape.size() == 4 && parameter.dim() == 2 && shape[2] == 1 && shape[3] == 1) {
    shape.resize(2);
  }
  if (at::IntArrayRef(shape) != parameter.sizes()) {
    return fmt::format("has shape {}, the configuration needs {}", found.tensor->shape, parameter.sizes().vec());
  }
  const std::optional<at::Tensor> values = tensor_of(*found.file, *found.tensor);
  if (!values || !values->is_floating_point()) {
    return fmt::format("has type {}, not a floating-point one", name_of(found.tensor->dtype));
  }
  parameter.copy_(values->view(parameter.sizes()));
  if (!at::isfinite(parameter).all().item<bool>()) {
    return fmt::format("holds NaN or Inf in {}", found.file->path().filename().string());
  }
  return {};
}

}  // namespace

void save_weights(const std::filesystem::path& path, const torch::nn::Module& module,
                  const std::map<std::string, std::string>& metadata, const std::string& prefix) {
  std::vector<at::Tensor> kept;
  std::vector<TensorSource> sources;
  for (const auto& item : module.named_parameters()) {
    const at::Tensor& values = kept.emplace_back(item.value().detach().to(at::kCPU, at::kFloat).contiguous());
    sources.push_back(
        {prefix + item.key(), DType::f32, values.sizes().vec(),
         std::as_bytes(std::span(values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())))});
  }
  std::map<std::string, std::string> all = metadata;
  all["format"] = "pt";
  write_safetensors(path, sources, all);
}

std::string text_encoder_name(const std::string& name) {
  constexpr std::string_view prefix = "text_model.";
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

std::string autoencoder_name(const std::string& name) {
  static constexpr std::pair<std::string_view, std::string_view> renamed[] = {
      {"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}};
  constexpr std::string_view attention = ".attentions.0.";
  const std::size_t found = name.find(attention);
  if (found == std::string::npos) {
    return name;
  }
  const std::size_t begin = found + attention.size();
  const std::size_t end = name.find('.', begin);
  for (const auto& [old_name, new_name] : renamed) {
    if (end != std::string::npos && std::string_view(name).substr(begin, end - begin) == old_name) {
      return name.substr(0, begin) + std::string(new_name) + name.substr(end);
    }
  }
  return name;
}

void load_weights(const std::vector<std::filesystem::path>& files, torch::nn::Module& module,
                  const CurrentName& current_name) {
  const at::NoGradGuard no_grad;
  std::vector<std::string> problems;
  std::deque<SafetensorsFile> opened;
  std::map<std::string, Found> tensors;
  for (const std::filesystem::path& path : files) {
    const SafetensorsFile& file = opened.emplace_back(path);
    for (const TensorInfo& tensor : file.tensors()) {
      const std::string name = current_name ? current_name(tensor.name) : tensor.name;
      if (!tensors.emplace(name, Found{&file, &tensor}).second) {
        problems.push_back(fmt::format("{} is there twice", name));
      }
    }
  }
  for (const auto& item : module.named_parameters()) {
    const auto found = tensors.find(item.key());
    if (found == tensors.end()) {
      problems.push_back(fmt::format("{} is missing", item.key()));
      continue;
    }
    if (const std::string problem = fill_parameter(item.key(), item.value(), found->second); !problem.empty()) {
      problems.push_back(item.key() + " " + problem);
    }
    tensors.erase(found);
  }
  for (const auto& [name, found] : tensors) {
    if (!is_derived(name)) {
      problems.push_back(fmt::format("{} is not a tensor of this network", found.tensor->name));
    }
  }
  if (!problems.empty()) {
    throw_tensor_problems(files.size() == 1 ? files.front() : files.front().parent_path(),
                          "the config.json beside it needs", problems);
  }
}

void throw_tensor_problems(const std::filesystem::path& path, const std::string& wanted,
                           const std::vector<std::string>& problems) {
  std::string text = fmt::format("{} tensors are not what {}:", problems.size(), wanted);
  const std::size_t listed = std::min(problems.size(), most_listed);
  for (std::size_t i = 0; i < listed; ++i) {
    text += "\n  " + problems[i];
  }
  if (listed < problems.size()) {
    text += fmt::format("\n  and {} more", problems.size() - listed);
  }
  throw DataError(path, text);
}

}  // namespace soup
