// One part of a merge: the same part of every model opened, and merged by the mean or by a method.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "merge/merge_files.hpp"
#include "merge/soup_writer.hpp"
#include "merge/streamed_sum.hpp"
#include "merge/weights.hpp"

namespace soup {

struct OpenPart {
  std::string name;
  std::vector<Weights> weights;  // one an ingredient
};

// Throws DataError for ingredients with other tensors.
OpenPart open_part(const std::vector<OpenIngredient>& ingredients, const std::string& name,
                   const MergeOptions& options);

// Throws ConfigError for rules and weights that do not fit the method, the ingredients or, where there are rules, the
// tensors of `parts`.
void require_usable(const std::vector<OpenIngredient>& ingredients, const std::vector<std::string>& parts,
                    const MergeOptions& options);

// Merges the part into `out`; the outcome's terms are the ingredients in their order. `progress` is called with the
// bytes of the soup done so far.
SumOutcome merge_part(const std::vector<OpenIngredient>& ingredients, const OpenPart& part, const MergeOptions& options,
                      std::function<void(std::uint64_t)> progress, SoupWriter& out);

}  // namespace soup
