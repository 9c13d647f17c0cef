// The inputs of a merge, opened and of one origin.
#pragma once

#include <vector>

#include "merge/merge_files.hpp"

namespace soup {

// All inputs in their order, but those that others come from last. Throws ConfigError when files are mixed with
// folders, and DataError when they are not of one origin: a base is one with the models that name its digest.
std::vector<OpenIngredient> open_ingredients(const std::vector<MergeInput>& inputs, const MergeOptions& options);

}  // namespace soup
