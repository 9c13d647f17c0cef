// How far training moved each ingredient from the base, and whether the ingredients moved the same way. Torch-free.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace soup {

struct Drift {
  std::vector<std::string> models;
  std::vector<double> relative;              // |w - base| / |base| over all weights; NaN where some are not finite
  std::vector<std::vector<double>> cosines;  // between the models' w - base; NaN where one of them did not move
};

// Of the U-Nets (the folder unet below each model folder), by merge/difference.hpp on all processors. Throws DataError:
// a tensor missing or of another shape than the base's.
Drift measure_drift(const std::filesystem::path& base,
                    const std::vector<std::pair<std::string, std::filesystem::path>>& models);

// JSON {"models", "relative", "cosines"}, atomically; NaN as null.
void write_drift(const std::filesystem::path& path, const Drift& drift);
// Throws DataError.
Drift read_drift(const std::filesystem::path& path);

}  // namespace soup
