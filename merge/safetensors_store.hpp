// Tensors in safetensors files, read with pread.
#pragma once

#include <filesystem>
#include <vector>

#include "merge/weights.hpp"

namespace soup {

// Throws DataError for files that are not valid, and for a tensor that is in two of them.
OpenedWeights open_safetensors(const std::vector<std::filesystem::path>& files);

// The files an index names, in its folder, sorted; tensors in the files are then checked against it. Throws DataError:
// not an index, a name that leaves the folder, a file missing, a tensor that only one side has.
OpenedWeights open_safetensors_index(const std::filesystem::path& index, std::vector<std::filesystem::path>& files);

}  // namespace soup
