// How far training moved each ingredient from the base, and whether the ingredients moved the same way. Torch-free.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace soup {

struct Drift {
  std::vector<std::string> models;
  std::vector<double> relative;              // |w - base| / |base| over all weights
  std::vector<std::vector<double>> cosines;  // between the models' w - base; NaN where one of them did not move
};

// Reads the U-Nets' weights (unet/diffusion_pytorch_model.safetensors below each model folder), tensor by tensor, in
// doubles. Throws DataError: a tensor missing or of another shape than the base's, or not of a floating type.
Drift measure_drift(const std::filesystem::path& base,
                    const std::vector<std::pair<std::string, std::filesystem::path>>& models);

// JSON {"models", "relative", "cosines"}, atomically; NaN as null.
void write_drift(const std::filesystem::path& path, const Drift& drift);
// Throws DataError.
Drift read_drift(const std::filesystem::path& path);

}  // namespace soup
