// model_index.json: which parts a model folder in diffusers' layout has; torch-free.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace soup {

struct ModelIndex {
  bool has_vae = false;  // vae/, an AutoencoderKL; otherwise autoencoder/, soup's own
  std::vector<std::string>
      left_out;  // "safety_checker (StableDiffusionSafetyChecker)", ...: parts that soup does not use
};

// What a StableDiffusionPipeline's folder names. Throws DataError: no such file, or a part that is not implemented, by
// name (a second text encoder, another class).
ModelIndex read_model_index(const std::filesystem::path& folder);
// As diffusers' StableDiffusionPipeline reads it. Without VAE its place is empty.
nlohmann::json model_index_json(bool has_vae);

}  // namespace soup
