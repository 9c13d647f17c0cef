// What `soup merge` is asked for, as what it does: a recipe as the inputs and options of a merge.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/recipe.hpp"
#include "merge/merge_files.hpp"

namespace soup {

struct MergeJob {
  std::vector<MergeInput> inputs;  // the base, if any, last
  MergeOptions options;
  std::vector<std::string> notes;  // for the user: weights that were quantised, line by line
};

// Throws ConfigError: unknown method or parameter, values out of range, a pull-back without base or a base without use,
// weights that cannot be those of a mean, a size or type that is none.
MergeJob merge_job(const Recipe& recipe);

// "2GB", "500MiB", "1000000". Throws ConfigError.
std::uint64_t file_bytes(const std::string& text);

}  // namespace soup
