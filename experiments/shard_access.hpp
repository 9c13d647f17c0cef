// Where a run keeps its shards, and which of their images a trainer may see.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/shard_file.hpp"
#include "data/split.hpp"
#include "experiments/exclusions.hpp"
#include "experiments/run_context.hpp"

namespace soup {

// run/data/<shard>/shard.h5 of an import stage.
std::filesystem::path shard_path(const std::filesystem::path& run_folder, const Stage& import_stage);

// One shard opened for training.
struct TrainingShard {
  std::string name;
  std::shared_ptr<const ShardFile> file;
  TrainingSet training;
};
// The shard of one import stage: held-out images and (data shards) duplicates taken out.
TrainingShard open_for_training(const RunContext& context, const Stage& import_stage);
// Import stages of the data shards, or of the base's.
std::vector<const Stage*> import_stages(const RunContext& context, bool base_shards);

}  // namespace soup
