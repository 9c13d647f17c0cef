// A diffusers-style model folder as files: its parts with safetensors, and all else that travels with them. Torch-free.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/safetensors.hpp"

namespace soup {

// A component with weights, and its folder ("unet", "unet_ema", "text_encoder", "vae", ...).
struct ModelPart {
  std::string name;
  std::vector<std::filesystem::path> files;  // *.safetensors, relative to the model folder, sorted
};

struct ModelFolder {
  std::filesystem::path path;
  std::vector<ModelPart> parts;               // sorted by name
  std::vector<std::filesystem::path> others;  // model_index.json, configurations, tokenizer, ...; relative, sorted

  // nullptr when absent.
  [[nodiscard]] const ModelPart* find(const std::string& part) const;
};

// Reads model_index.json and lists the components it names, plus the averaged weights "<component>_ema" beside them.
// Anything else in the folder (records, checkpoints, logs) is no part of the model. Throws DataError: no
// model_index.json, a component without folder, weights only as pickle files, no part at all.
ModelFolder read_model_folder(const std::filesystem::path& path);

std::vector<SafetensorsFile> open_part(const ModelFolder& model, const ModelPart& part);
Digest part_digest(const ModelFolder& model, const ModelPart& part);

// Copies files (relative paths) from one folder to another, making folders as needed; throws DataError.
void copy_files(const std::filesystem::path& from, const std::filesystem::path& to,
                const std::vector<std::filesystem::path>& files);

}  // namespace soup
