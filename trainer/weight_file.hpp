// A module's parameters in safetensors files, with the names diffusers and transformers give them.
#pragma once

#include <torch/nn/module.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace soup {

// Tensors in the module's parameter order, each name behind `prefix`; `metadata` beside the entry {"format": "pt"},
// without which transformers refuses the file.
void save_weights(const std::filesystem::path& path, const torch::nn::Module& module,
                  const std::map<std::string, std::string>& metadata, const std::string& prefix = {});

// The name a parameter has here, of a tensor in a file: names of older releases and prefixes go.
using CurrentName = std::function<std::string(const std::string&)>;
// Without "text_model.", which only some releases of transformers write.
std::string text_encoder_name(const std::string& name);
// "query", "key", "value" and "proj_attn" of an AutoencoderKL's attention are "to_q", "to_k", "to_v" and "to_out.0"
// since diffusers 0.16.
std::string autoencoder_name(const std::string& name);

// One DataError for a file or folder that lists the first of many problems with its tensors. `wanted` is what they do
// not fit: "the config.json beside it needs".
[[noreturn]] void throw_tensor_problems(const std::filesystem::path& path, const std::string& wanted,
                                        const std::vector<std::string>& problems);

// Fills every parameter from the files, widening half precision. A weight [a, b] whose name is not the current one may
// also be a 1 x 1 convolution's [a, b, 1, 1]. Throws one DataError that lists missing, unexpected, mis-shaped and
// non-finite tensors.
void load_weights(const std::vector<std::filesystem::path>& files, torch::nn::Module& module,
                  const CurrentName& current_name = {});

}  // namespace soup
