// Whole models in one safetensors file.
#include "trainer/single_file.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/error.hpp"
#include "trainer/single_file_names.hpp"
#include "trainer/tensor_file.hpp"
#include "trainer/weight_file.hpp"

namespace soup {
namespace {

// Stable Diffusion 2 uses the state before OpenCLIP's last layer. diffusers' folders leave that layer out; readers of
// single files build it and want some values for it.
constexpr std::int64_t open_clip_layers = 24;

bool is_open_clip(const TextEncoderConfig& config) {
  return config.hidden_act == "gelu";
}

struct NamedParameter {
  std::string name;  // "unet.conv_in.weight", for messages
  SingleFilePlace place;
  at::Tensor values;
};

std::vector<NamedParameter> parameters_of(const DiffusionModel& model) {
  const SingleFileNames names(model.config.unet, model.config.vae, is_open_clip(model.config.text_encoder));
  std::vector<NamedParameter> parameters;
  const auto add = [&parameters](const char* part, const torch::nn::Module& module, const auto& place_of) {
    for (const auto& item : module.named_parameters()) {
      parameters.push_back({part + item.key(), place_of(item.key()), item.value()});
    }
  };
  add("unet.", *model.unet, [&names](const std::string& name) { return names.unet(name); });
  add("vae.", *model.autoencoder->network(), [&names](const std::string& name) { return names.vae(name); });
  add("text_encoder.", *model.text_encoder, [&names](const std::string& name) { return names.text_encoder(name); });
  return parameters;
}

void require_network(const DiffusionModel& model) {
  if (model.autoencoder->network() == nullptr) {
    throw ConfigError(
        fmt::format("a model with the autoencoder {} cannot be a single file of the original layout, "
                    "which holds an AutoencoderKL",
                    model.autoencoder->name()));
  }
}

// Fills one parameter; returns what is wrong with the tensor found, or "".
std::string fill(const NamedParameter& parameter, const SafetensorsFile& file, const TensorInfo& tensor) {
  std::vector<std::int64_t> wanted = parameter.values.sizes().vec();
  std::vector<std::int64_t> shape = tensor.shape;
  if (parameter.place.is_convolution && shape.size() == 4 && shape[2] == 1 && shape[3] == 1) {
    shape.resize(2);
  }
  wanted[0] *= parameter.place.parts;
  if (shape != wanted) {
    return fmt::format("has shape {}, but {} needs {}", tensor.shape, parameter.name, wanted);
  }
  const std::optional<at::Tensor> all = tensor_of(file, tensor);
  if (!all || !all->is_floating_point()) {
    return fmt::format("has type {}, not a floating-point one", name_of(tensor.dtype));
  }
  parameter.values.copy_(all->view(shape).chunk(parameter.place.parts)[static_cast<std::size_t>(parameter.place.part)]);
  return at::isfinite(parameter.values).all().item<bool>() ? "" : "holds NaN or Inf";
}

// Layers of OpenCLIP behind those that the configuration has.
bool is_surplus_layer(const std::string& name, const TextEncoderConfig& config) {
  const SingleFileNames names({}, {}, /*open_clip=*/true);
  for (std::int64_t layer = config.num_hidden_layers; layer < open_clip_layers; ++layer) {
    const std::string first = names.text_encoder(fmt::format("encoder.layers.{}.layer_norm1.weight", layer)).name;
    if (name.starts_with(first.substr(0, first.find("ln_1")))) {
      return true;
    }
  }
  return false;
}

}  // namespace

DiffusionModel load_single_file(const std::filesystem::path& file, const std::filesystem::path& like) {
  const at::NoGradGuard no_grad;
  DiffusionModel model = assemble_like(like);
  require_network(model);
  const SafetensorsFile opened(file);
  std::vector<std::string> problems;
  std::set<std::string> used;
  for (const NamedParameter& parameter : parameters_of(model)) {
    const TensorInfo* tensor = opened.find(parameter.place.name);
    if (tensor == nullptr) {
      problems.push_back(fmt::format("{} is missing ({})", parameter.place.name, parameter.name));
      continue;
    }
    used.insert(tensor->name);
    if (const std::string problem = fill(parameter, opened, *tensor); !problem.empty()) {
      problems.push_back(tensor->name + " " + problem);
    }
  }
  std::size_t average = 0;
  for (const TensorInfo& tensor : opened.tensors()) {
    if (used.contains(tensor.name) || is_surplus_layer(tensor.name, model.config.text_encoder)) {
      continue;
    }
    if (!is_idle_in_single_file(tensor.name)) {
      problems.push_back(tensor.name + " is not a tensor of these networks");
    } else if (tensor.name.starts_with("model_ema.")) {
      ++average;
    }
  }
  if (!problems.empty()) {
    throw_tensor_problems(file, fmt::format("the networks of {} need", like.string()), problems);
  }
  if (average > 0) {
    model.remarks.push_back(
        fmt::format("{}: {} tensors of a moving average (model_ema) are left out", file.string(), average));
  }
  return model;
}

void save_single_file(const std::filesystem::path& file, const DiffusionModel& model, DType dtype,
                      const std::map<std::string, std::string>& metadata) {
  require_network(model);
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> kept;
  std::vector<TensorSource> sources;
  const auto add = [&](const std::string& name, const at::Tensor& values) {
    const at::Tensor& narrow = kept.emplace_back(values.to(scalar_type_of(dtype).value()).contiguous());
    if (!at::isfinite(narrow).all().item<bool>()) {
      throw DataError(file, fmt::format("{} has weights beyond the range of {}", name, name_of(dtype)),
                      "write another type: --dtype bf16 or --dtype f32");
    }
    sources.push_back(
        {name, dtype, narrow.sizes().vec(), {static_cast<const std::byte*>(narrow.const_data_ptr()), narrow.nbytes()}});
  };
  const std::vector<NamedParameter> parameters = parameters_of(model);
  for (const NamedParameter& parameter : parameters) {
    at::Tensor values = parameter.values.detach();
    if (parameter.place.parts > 1) {
      if (parameter.place.part > 0) {
        continue;  // written with the first
      }
      std::vector<at::Tensor> parts(static_cast<std::size_t>(parameter.place.parts));
      for (const NamedParameter& other : parameters) {
        if (other.place.name == parameter.place.name) {
          parts[static_cast<std::size_t>(other.place.part)] = other.values.detach();
        }
      }
      values = at::cat(parts);
    }
    add(parameter.place.name, parameter.place.is_convolution && values.dim() == 2
                                  ? values.view({values.size(0), values.size(1), 1, 1})
                                  : values);
  }
  const std::int64_t layers = model.config.text_encoder.num_hidden_layers;
  if (is_open_clip(model.config.text_encoder) && layers == open_clip_layers - 1) {
    const std::string last = fmt::format(".resblocks.{}.", layers - 1);
    const std::size_t written = sources.size();
    for (std::size_t i = 0; i < written; ++i) {
      std::string name = sources[i].name;
      if (const std::size_t at = name.find(last); at != std::string::npos) {
        name.replace(at, last.size(), fmt::format(".resblocks.{}.", layers));
        add(name, kept[i]);
      }
    }
  }
  std::map<std::string, std::string> all = metadata;
  all["format"] = "pt";
  if (const std::string& prediction = model.config.schedule.prediction_type; prediction != "sample") {
    all["modelspec.prediction_type"] = prediction == "v_prediction" ? "v" : "epsilon";  // it has no word for the third
  }
  write_safetensors(file, sources, all);
}

}  // namespace soup
