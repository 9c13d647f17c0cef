// A model's folder on disk, in diffusers' layout.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "trainer/model.hpp"
#include "trainer/weight_file.hpp"

namespace soup {
namespace {

using nlohmann::json;
using std::filesystem::path;

constexpr const char* unet_file = "diffusion_pytorch_model.safetensors";
constexpr const char* text_file = "model.safetensors";
// transformers 4 knows CLIPTextModel's tensors only with this prefix (without it, it warns and takes random weights);
// transformers 5 reads both forms and may write either.
constexpr const char* text_prefix = "text_model.";
constexpr int autoencoder_version = 1;

json read_json(const path& file) {
  const std::string text = read_file(file, 1ULL << 24);
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    throw DataError(file, fmt::format("is not JSON: {}", error.what()));
  }
}

void write_json(const path& file, const json& value) {
  write_file_atomically(file, value.dump(2) + "\n");
}

void make_folder(const path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw DataError(folder, fmt::format("cannot be created: {}", error.message()));
  }
}

// What diffusers' DiffusionPipeline reads to find the parts. The autoencoder has no weights and is not diffusers', so
// the VAE's place is empty.
json model_index() {
  const json absent = {nullptr, nullptr};
  return {{"_class_name", "StableDiffusionPipeline"},
          {"_diffusers_version", "0.42.1"},
          {"feature_extractor", absent},
          {"image_encoder", absent},
          {"requires_safety_checker", false},
          {"safety_checker", absent},
          {"scheduler", {"diffusers", "DDIMScheduler"}},
          {"text_encoder", {"transformers", "CLIPTextModel"}},
          {"tokenizer", {"transformers", "CLIPTokenizer"}},
          {"unet", {"diffusers", "UNet2DConditionModel"}},
          {"vae", absent}};
}

void check_model_index(const path& folder) {
  const path file = folder / "model_index.json";
  if (!std::filesystem::exists(file)) {
    throw DataError(file, "does not exist, so its folder is not a model",
                    "give the folder that holds unet/ and text_encoder/");
  }
  const json index = read_json(file);
  const std::pair<const char*, const char*> needed[] = {
      {"unet", "UNet2DConditionModel"}, {"text_encoder", "CLIPTextModel"}, {"tokenizer", "CLIPTokenizer"}};
  for (const auto& [part, name] : needed) {
    const json entry = index.is_object() ? index.value(part, json()) : json();
    if (!entry.is_array() || entry.size() != 2 || entry[1] != name) {
      throw DataError(file, fmt::format("names {} as {}, but only {} is implemented", entry.dump(), part, name));
    }
  }
}

std::string read_autoencoder(const path& folder) {
  const path file = folder / "autoencoder" / "config.json";
  if (!std::filesystem::exists(file)) {
    throw DataError(file, "does not exist",
                    std::filesystem::exists(folder / "vae") ? "its vae/ (AutoencoderKL) is not implemented yet" : "");
  }
  const json config = read_json(file);
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

}  // namespace

void save_unet(const path& folder, const UNet2DConditionModel& unet,
               const std::map<std::string, std::string>& metadata) {
  make_folder(folder);
  write_json(folder / "config.json", unet.config().to_json());
  save_weights(folder / unet_file, unet, metadata);
}

void save_text_encoder(const path& folder, const CLIPTextModel& text,
                       const std::map<std::string, std::string>& metadata) {
  make_folder(folder);
  write_json(folder / "config.json", text.config().to_json());
  save_weights(folder / text_file, text, metadata, text_prefix);
}

void save_model(const path& folder, const DiffusionModel& model, const std::map<std::string, std::string>& metadata) {
  save_unet(folder / "unet", *model.unet, metadata);
  save_text_encoder(folder / "text_encoder", *model.text_encoder, metadata);
  make_folder(folder / "tokenizer");
  model.tokenizer->save(folder / "tokenizer");
  make_folder(folder / "scheduler");
  write_json(folder / "scheduler" / "scheduler_config.json", model.config.schedule.to_json());
  make_folder(folder / "autoencoder");
  write_json(folder / "autoencoder" / "config.json",
             {{"name", model.autoencoder->name()}, {"version", autoencoder_version}});
  write_json(folder / "model_index.json", model_index());
}

bool has_ema_weights(const path& folder) {
  return part_folder(folder, "unet", WeightSet::ema) != folder / "unet" ||
         part_folder(folder, "text_encoder", WeightSet::ema) != folder / "text_encoder";
}

DiffusionModel load_model(const path& folder, WeightSet weights) {
  check_model_index(folder);
  const path unet = part_folder(folder, "unet", weights);
  const path text = part_folder(folder, "text_encoder", weights);
  const auto config_of = []<class Config>(const path& file, std::type_identity<Config>) {
    return Config::from_json(read_json(file), file.string());
  };
  ModelConfig config;
  config.unet = config_of(unet / "config.json", std::type_identity<UNetConfig>());
  config.text_encoder = config_of(text / "config.json", std::type_identity<TextEncoderConfig>());
  config.schedule = config_of(folder / "scheduler" / "scheduler_config.json", std::type_identity<ScheduleConfig>());
  config.autoencoder = read_autoencoder(folder);
  auto tokenizer = std::make_shared<Tokenizer>(Tokenizer::load(folder / "tokenizer"));
  DiffusionModel model;
  try {
    model = assemble_model(config, std::move(tokenizer));
  } catch (const ConfigError& error) {
    throw DataError(folder, error.message(), error.hint());
  }
  load_weights(unet / unet_file, *model.unet);
  load_weights(text / text_file, *model.text_encoder, text_prefix);
  return model;
}

}  // namespace soup
