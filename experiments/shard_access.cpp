// Where a run keeps its shards, and which of their images a trainer may see.
#include "experiments/shard_access.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace soup {

std::filesystem::path shard_path(const std::filesystem::path& run_folder, const Stage& import_stage) {
  return run_folder / import_stage.folder / "shard.h5";
}

TrainingShard open_for_training(const RunContext& context, const Stage& import_stage) {
  TrainingShard shard;
  shard.name = shard_of(import_stage, context.experiment).name;
  shard.file = std::make_shared<ShardFile>(shard_path(context.experiment.run_folder, import_stage));
  const std::optional<StageRecord> record = read_done(context.experiment.run_folder / import_stage.folder);
  if (record && record->result != shard.file->root()) {
    throw DataError(shard.file->path(),
                    fmt::format("holds a shard of root {}, but {} was imported here", shard.file->root().brief(),
                                record->result.brief()),
                    "the file was replaced: put it back, or remove the DONE file beside it to import it again");
  }
  std::set<std::uint64_t> dropped;
  if (!import_stage.is_base_shard) {
    dropped = read_exclusions(exclusion_file(context.experiment.run_folder, shard.name), shard.name);
  }
  shard.training = training_set(*shard.file, held_out_of(context.experiment), dropped);
  return shard;
}

std::vector<const Stage*> import_stages(const RunContext& context, bool base_shards) {
  std::vector<const Stage*> found;
  for (const Stage* stage : context.of_kind(StageKind::import_shard)) {
    if (stage->is_base_shard == base_shards) {
      found.push_back(stage);
    }
  }
  return found;
}

}  // namespace soup
