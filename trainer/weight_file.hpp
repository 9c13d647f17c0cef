// A module's parameters in one safetensors file, with the names diffusers and transformers give them.
#pragma once

#include <torch/nn/module.h>

#include <filesystem>
#include <map>
#include <string>

namespace soup {

// Tensors in the module's parameter order, each name behind `prefix`; `metadata` beside the entry {"format": "pt"},
// without which transformers refuses the file.
void save_weights(const std::filesystem::path& path, const torch::nn::Module& module,
                  const std::map<std::string, std::string>& metadata, const std::string& prefix = {});

// Fills every parameter. `optional_prefix` (such as "text_model.") is dropped from the file's names where it is there.
// Throws one DataError that lists missing, unexpected and mis-shaped tensors.
void load_weights(const std::filesystem::path& path, torch::nn::Module& module,
                  const std::string& optional_prefix = {});

}  // namespace soup
