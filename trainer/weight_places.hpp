// Which safetensors files hold the weights of one part of a model; torch-free.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace soup {

// The weights of a part in its `folder`, called `stem` ("diffusion_pytorch_model", "model"), sorted: stem.safetensors,
// or the files that stem.safetensors.index.json names; where there are neither, their half-precision variants
// stem.fp16.safetensors and stem.safetensors.index.fp16.json. Throws DataError naming the file that is missing, or both
// when it is not clear which ones are meant.
std::vector<std::filesystem::path> find_weights(const std::filesystem::path& folder, const std::string& stem);

}  // namespace soup
