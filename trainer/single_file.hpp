// Whole models in one safetensors file of the original layout, read and written.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/safetensors.hpp"
#include "trainer/model.hpp"

namespace soup {

// Such a file holds no configuration and no tokenizer: both are those of the model folder `like` (its weights may be
// missing). Half precision is widened to float32; the moving average that some files hold is left out. Throws one
// DataError that lists missing, unexpected, mis-shaped and non-finite tensors.
DiffusionModel load_single_file(const std::filesystem::path& file, const std::filesystem::path& like);

// U-Net, AutoencoderKL and text encoder in `dtype` (F32, F16, BF16), the text encoder in OpenCLIP's layout where its
// activation is gelu (Stable Diffusion 2). Complete or not at all. Throws ConfigError for a model without
// AutoencoderKL, DataError for a weight beyond the type's range.
void save_single_file(const std::filesystem::path& file, const DiffusionModel& model, DType dtype,
                      const std::map<std::string, std::string>& metadata);

}  // namespace soup
