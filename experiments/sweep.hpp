// `soup merge --sweep`: one soup for every point of a grid of weights, in a folder that appears as a whole.
#pragma once

#include <filesystem>

#include "experiments/merge_job.hpp"
#include "experiments/recipe.hpp"
#include "experiments/sweep_record.hpp"

namespace soup {

// What a point of the sweep is as a merge: inputs of weight 0 are left out, those of a mean have the least integers in
// the ratios of `weights`, those of another method their share of all. A corner of slerp is a mean of one.
MergeJob point_job(const Recipe& recipe, const GridWeights& weights);

// Writes a soup for every point of the grid of the recipe's inputs, sweep.json last, and renames all of it at the end.
// What is averaged is decided once, from all inputs. Everything but the averaged weights is checked before the first
// byte is written. Throws as merge() does, and ConfigError: weights or rules in the recipe, a method without weights,
// slerp of other than two, a grid that is none or too large, an output that is one file, no digests.
Sweep run_sweep(const Recipe& recipe, int steps, const std::filesystem::path& output, const MergeWork& work);

}  // namespace soup
