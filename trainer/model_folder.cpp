// A model's folder on disk, in diffusers' layout.
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/atomic_file.hpp"
#include "core/copy_files.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "core/text.hpp"
#include "trainer/autoencoder_kl.hpp"
#include "trainer/config_reader.hpp"
#include "trainer/model.hpp"
#include "trainer/model_index.hpp"
#include "trainer/weight_file.hpp"
#include "trainer/weight_places.hpp"

namespace soup {
namespace {

using nlohmann::json;
using std::filesystem::path;

// What diffusers and transformers call a part's weights, without ".safetensors".
constexpr const char* diffusers_stem = "diffusion_pytorch_model";
constexpr const char* transformers_stem = "model";
constexpr int autoencoder_version = 1;
constexpr const char* kl_autoencoder = "AutoencoderKL";

void make_folder(const path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw DataError(folder, fmt::format("cannot be created: {}", error.message()));
  }
}

// `folder` is made when absent.
void write_json_into(const path& folder, const char* name, const json& value) {
  make_folder(folder);
  write_file_atomically(folder / name, value.dump(2) + "\n");
}

path weights_path(const path& folder, const char* stem) {
  return folder / (std::string(stem) + ".safetensors");
}

std::string read_autoencoder(const path& folder) {
  const path file = folder / "autoencoder" / "config.json";
  if (!std::filesystem::exists(file)) {
    throw DataError(file, "does not exist, and model_index.json names no vae: there is no way from images to latents");
  }
  const json config = read_config_file(file);
  if (!config.is_object() || config.value("version", json()) != autoencoder_version ||
      !config.value("name", json()).is_string()) {
    throw DataError(
        file, fmt::format("must be {{\"name\": ..., \"version\": {}}}, but is {}", autoencoder_version, config.dump()));
  }
  return config["name"].get<std::string>();
}

path part_folder(const path& folder, const std::string& part, WeightSet weights) {
  const path ema = folder / (part + "_ema");
  return weights == WeightSet::ema && std::filesystem::exists(ema) ? ema : folder / part;
}

template <class Config>
Config read_part_config(const path& file) {
  return Config::from_json(read_config_file(file), file.string());
}

ModelConfig read_configs(const path& folder, const path& unet, const path& text, bool has_vae) {
  ModelConfig config;
  config.unet = read_part_config<UNetConfig>(unet / "config.json");
  config.text_encoder = read_part_config<TextEncoderConfig>(text / "config.json");
  config.schedule = read_part_config<ScheduleConfig>(folder / "scheduler" / "scheduler_config.json");
  if (!has_vae) {
    config.autoencoder = read_autoencoder(folder);
    return config;
  }
  if (std::filesystem::exists(folder / "autoencoder")) {
    throw DataError(folder, "has both vae/ and autoencoder/", "take away the one it was not trained with");
  }
  config.autoencoder = kl_autoencoder;
  config.vae = read_part_config<AutoencoderKLConfig>(folder / "vae" / "config.json");
  return config;
}

// All files directly in a part's folder.
void copy_folder(const path& base, const path& folder, const std::string& part) {
  std::vector<path> files;
  for (const auto& entry : std::filesystem::directory_iterator(base / part)) {
    if (entry.is_regular_file()) {
      files.push_back(entry.path().filename());
    }
  }
  copy_files(base / part, folder / part, files);
}

// A part's configuration and the weights that are used, not other forms of them that lie beside. False, and nothing is
// copied, where those are a half-precision variant: a folder with some parts so named and others not loads nowhere.
bool copy_part(const path& base, const path& folder, const std::string& part, const char* stem) {
  std::vector<path> files = {"config.json"};
  for (const path& weights : find_weights(base / part, stem)) {
    files.push_back(weights.lexically_relative(base / part));
  }
  if (std::ranges::any_of(files, [](const path& file) { return file.string().find(".fp16") != std::string::npos; })) {
    return false;
  }
  if (const path index = std::string(stem) + ".safetensors.index.json"; std::filesystem::exists(base / part / index)) {
    files.push_back(index);
  }
  copy_files(base / part, folder / part, files);
  return true;
}

void save_autoencoder(const path& folder, const DiffusionModel& model,
                      const std::map<std::string, std::string>& metadata) {
  if (const auto* vae = dynamic_cast<const AutoencoderKL*>(model.autoencoder->network())) {
    write_json_into(folder / "vae", "config.json", vae->config().to_json());
    save_weights(weights_path(folder / "vae", diffusers_stem), *vae, metadata);
  } else {
    write_json_into(folder / "autoencoder", "config.json",
                    {{"name", model.autoencoder->name()}, {"version", autoencoder_version}});
  }
}

// "text_model." where the tensors' names begin with it, else "".
std::string text_prefix_of(const std::vector<path>& files) {
  const SafetensorsFile file(files.front());
  const std::string prefix = DiffusionModel().text_prefix;
  const bool has_it = std::ranges::any_of(
      file.tensors(), [&prefix](const TensorInfo& tensor) { return tensor.name.starts_with(prefix); });
  return has_it ? prefix : "";
}

// The networks of a folder's configurations, with its tokenizer and uninitialised weights.
DiffusionModel assemble_from(const path& folder, const ModelConfig& config) {
  auto tokenizer = std::make_shared<Tokenizer>(Tokenizer::load(folder / "tokenizer"));
  try {
    return assemble_model(config, std::move(tokenizer));
  } catch (const ConfigError& error) {
    throw DataError(folder, error.message(), error.hint());
  } catch (const c10::Error& error) {
    throw DataError(folder,
                    fmt::format("the networks that its configurations describe cannot be built: {}",
                                excerpt(error.what_without_backtrace(), 300)),
                    "are the numbers in the config.json files right, and is there memory enough?");
  }
}

}  // namespace

void save_unet(const path& folder, const UNet2DConditionModel& unet,
               const std::map<std::string, std::string>& metadata) {
  write_json_into(folder, "config.json", unet.config().to_json());
  save_weights(weights_path(folder, diffusers_stem), unet, metadata);
}

void save_text_encoder(const path& folder, const DiffusionModel& model,
                       const std::map<std::string, std::string>& metadata) {
  write_json_into(folder, "config.json", model.text_encoder->config().to_json());
  save_weights(weights_path(folder, transformers_stem), *model.text_encoder, metadata, model.text_prefix);
}

void save_fine_tuned(const path& folder, const DiffusionModel& model, const path& base,
                     const std::vector<std::string>& trained, const std::map<std::string, std::string>& metadata) {
  const auto is_trained = [&trained](const char* part) { return std::ranges::find(trained, part) != trained.end(); };
  if (is_trained("unet") || !copy_part(base, folder, "unet", diffusers_stem)) {
    save_unet(folder / "unet", *model.unet, metadata);
  }
  if (is_trained("text_encoder") || !copy_part(base, folder, "text_encoder", transformers_stem)) {
    save_text_encoder(folder / "text_encoder", model, metadata);
  }
  const bool has_vae = model.autoencoder->network() != nullptr;
  if (!has_vae) {
    copy_folder(base, folder, "autoencoder");
  } else if (!copy_part(base, folder, "vae", diffusers_stem)) {
    save_autoencoder(folder, model, metadata);
  }
  copy_folder(base, folder, "tokenizer");
  // Equal to the base's unless the training had another schedule.
  write_json_into(folder / "scheduler", "scheduler_config.json", model.config.schedule.to_json());
  write_json_into(folder, "model_index.json", model_index_json(has_vae));
}

void save_model(const path& folder, const DiffusionModel& model, const std::map<std::string, std::string>& metadata) {
  save_unet(folder / "unet", *model.unet, metadata);
  save_text_encoder(folder / "text_encoder", model, metadata);
  write_json_into(folder / "scheduler", "scheduler_config.json", model.config.schedule.to_json());
  make_folder(folder / "tokenizer");
  model.tokenizer->save(folder / "tokenizer");
  save_autoencoder(folder, model, metadata);
  write_json_into(folder, "model_index.json", model_index_json(model.autoencoder->network() != nullptr));
}

bool has_ema_weights(const path& folder) {
  return part_folder(folder, "unet", WeightSet::ema) != folder / "unet" ||
         part_folder(folder, "text_encoder", WeightSet::ema) != folder / "text_encoder";
}

DiffusionModel assemble_like(const path& folder) {
  const ModelIndex index = read_model_index(folder);
  const ModelConfig config = read_configs(folder, folder / "unet", folder / "text_encoder", index.has_vae);
  return assemble_from(folder, config);
}

DiffusionModel load_model(const path& folder, WeightSet weights, at::Device device) {
  const ModelIndex index = read_model_index(folder);
  const path unet = part_folder(folder, "unet", weights);
  const path text = part_folder(folder, "text_encoder", weights);
  const ModelConfig config = read_configs(folder, unet, text, index.has_vae);
  // Found before anything large is made, so that a missing file is said at once.
  const std::vector<path> unet_files = find_weights(unet, diffusers_stem);
  const std::vector<path> text_files = find_weights(text, transformers_stem);
  const std::vector<path> vae_files =
      index.has_vae ? find_weights(folder / "vae", diffusers_stem) : std::vector<path>();
  DiffusionModel model = assemble_from(folder, config);
  load_weights(unet_files, *model.unet);
  load_weights(text_files, *model.text_encoder, text_encoder_name);
  if (text_prefix_of(text_files).empty()) {
    model.text_prefix.clear();
  }
  if (index.has_vae) {
    load_weights(vae_files, *model.autoencoder->network(), autoencoder_name);
  }
  if (!index.left_out.empty()) {
    model.remarks.push_back(
        fmt::format("{}: left out {}, which soup has no use for", folder.string(), fmt::join(index.left_out, ", ")));
  }
  model.to(device);
  return model;
}

}  // namespace soup
