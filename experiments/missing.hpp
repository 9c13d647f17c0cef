// Ingredients that a soup of survivors is made without, and the stages of a run without them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/stage.hpp"

namespace soup {

struct MissingIngredient {
  std::string shard;
  std::string reason;
};

// The ingredients that are not done with the keys they have now, each with what its stage left of a failure.
std::vector<MissingIngredient> unfinished_ingredients(const Experiment& experiment, const std::vector<Stage>& stages);

// <run folder>/missing.json: what the run's soups, evaluation and report were made without; no file: nothing.
void write_missing(const std::filesystem::path& run_folder, const std::vector<MissingIngredient>& missing);
// Throws DataError when the file is unreadable or names no shard of the experiment.
std::vector<MissingIngredient> read_missing(const Experiment& experiment);

// The stages of a run without these ingredients: no stage of theirs, no soup that leaves one of them out, and no stage
// that takes them. What is trained on their shards' images besides, the paragon, stays.
std::vector<Stage> stages_without(std::vector<Stage> stages, const Experiment& experiment,
                                  const std::vector<MissingIngredient>& missing);
// stages_of without the ingredients in missing.json: what the run's soups, evaluation and report are about.
std::vector<Stage> surviving_stages(const Experiment& experiment);

// "oxygen (ingredient oxygen: NaN ...); tango (not trained yet)"
std::string describe(const std::vector<MissingIngredient>& missing);

}  // namespace soup
