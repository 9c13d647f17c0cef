// A model's folder on disk, in diffusers' layout.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
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
// transformers 4 knows CLIPTextModel's tensors only with this prefix (without it, it warns and takes random weights);
// transformers 5 reads both forms and may write either.
constexpr const char* text_prefix = "text_model.";
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

// The networks of a folder's configurations, with its tokenizer and uninitialised weights.
DiffusionModel assemble_from(const path& folder, const ModelConfig& config) {
  auto tokenizer = std::make_shared<Tokenizer>(Tokenizer::load(folder / "tokenizer"));
  try {
    return assemble_model(config, std::move(tokenizer));
  } catch (const ConfigError& error) {
    throw DataError(folder, error.message(), error.hint());
  }
}

}  // namespace

void save_unet(const path& folder, const UNet2DConditionModel& unet,
               const std::map<std::string, std::string>& metadata) {
  write_json_into(folder, "config.json", unet.config().to_json());
  save_weights(weights_path(folder, diffusers_stem), unet, metadata);
}

void save_text_encoder(const path& folder, const CLIPTextModel& text,
                       const std::map<std::string, std::string>& metadata) {
  write_json_into(folder, "config.json", text.config().to_json());
  save_weights(weights_path(folder, transformers_stem), text, metadata, text_prefix);
}

void save_model(const path& folder, const DiffusionModel& model, const std::map<std::string, std::string>& metadata) {
  save_unet(folder / "unet", *model.unet, metadata);
  save_text_encoder(folder / "text_encoder", *model.text_encoder, metadata);
  write_json_into(folder / "scheduler", "scheduler_config.json", model.config.schedule.to_json());
  make_folder(folder / "tokenizer");
  model.tokenizer->save(folder / "tokenizer");
  const auto* vae = dynamic_cast<const AutoencoderKL*>(model.autoencoder->network());
  if (vae != nullptr) {
    write_json_into(folder / "vae", "config.json", vae->config().to_json());
    save_weights(weights_path(folder / "vae", diffusers_stem), *vae, metadata);
  } else {
    write_json_into(folder / "autoencoder", "config.json",
                    {{"name", model.autoencoder->name()}, {"version", autoencoder_version}});
  }
  write_json_into(folder, "model_index.json", model_index_json(vae != nullptr));
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

DiffusionModel load_model(const path& folder, WeightSet weights) {
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
  if (index.has_vae) {
    load_weights(vae_files, *model.autoencoder->network(), autoencoder_name);
  }
  if (!index.left_out.empty()) {
    model.remarks.push_back(
        fmt::format("{}: left out {}, which soup has no use for", folder.string(), fmt::join(index.left_out, ", ")));
  }
  return model;
}

}  // namespace soup
