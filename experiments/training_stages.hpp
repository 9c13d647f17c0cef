// The stages that train: base, ingredients and paragons, all by the one trainer.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "experiments/run_context.hpp"

namespace soup {

// Before the base is trained: throws DataError where a shard of this rank's group has no image left to train on, and
// ConfigError where the shard asked for is none of the experiment's. Collective over all ranks.
void check_ingredients(const RunContext& context, const std::optional<std::string>& only);
// Trains the base on its shards, unless the experiment names a model. Collective over all ranks.
void run_base(const RunContext& context);
// Trains one ingredient per shard, each by its own group, in waves. A group that fails does not stop the others; in the
// end all ranks throw.
void run_ingredients(const RunContext& context, const std::optional<std::string>& only);
// Trains the paragons on the union, by all ranks.
void run_paragons(const RunContext& context);

// The base that ingredients start from: the experiment's model folder, or what run_base made.
std::filesystem::path base_folder(const Experiment& experiment);

}  // namespace soup
