// The stages that train: base, ingredients and paragons, all by the one trainer.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "experiments/run_context.hpp"

namespace soup {

// Before the base is trained: throws DataError where a shard has no image left to train on, and ConfigError where the
// shard asked for is none of the experiment's. Looks into the shards that this rank's group would train if all goes as
// predicted, and into no other. Collective over all ranks.
void check_ingredients(const RunContext& context, const std::optional<std::string>& only);
// Trains the base on its shards, unless the experiment names a model. Collective over all ranks.
void run_base(const RunContext& context);
// Trains one ingredient per shard, each by one group; a free group takes the next one, longest first. One that fails
// stops neither the others nor the shards after it. Throws on all ranks when all groups are through: the first failure,
// unless `soup.on_missing` has an answer to it. `on_done` is called on all ranks of a group that has finished (or found
// finished) an ingredient. Collective over all ranks.
using IngredientDone = std::function<void(const Stage& stage)>;
void run_ingredients(const RunContext& context, const std::optional<std::string>& only, const IngredientDone& on_done);
// Trains the paragons on the union, by all ranks.
void run_paragons(const RunContext& context);

// The base that ingredients start from: the experiment's model folder, or what run_base made.
std::filesystem::path base_folder(const Experiment& experiment);

}  // namespace soup
