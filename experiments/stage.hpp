// The stages of a run as values: name, folder, key. run, plan and verify all walk the same list.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "experiments/experiment.hpp"

namespace soup {

enum class StageKind { import_shard, duplicates, base, ingredient, soup, paragon, evaluate, report };

struct Stage {
  StageKind kind = StageKind::import_shard;
  std::string name;  // "import/oxygen", "duplicates", "base", "ingredient/oxygen", "soup", "soup/without-oxygen",
                     // "paragon/equal-total", "evaluate", "report"
  std::filesystem::path
      folder;  // relative to the run folder: data/oxygen, ingredients/oxygen, paragon/equal-total, ...
  std::size_t shard =
      0;  // index into data.shards (import, ingredient, leave-one-out soup) or base.shards (is_base_shard)
  bool is_base_shard = false;
  std::vector<std::string> inputs;  // names of the stages whose results enter the key
  std::string settings;             // canonical text of everything else that decides the result
  std::uint64_t images = 0;         // images trained on by this stage; 0 where it trains nothing
};

// In order of execution. A run without shards ends after the base.
std::vector<Stage> stages_of(const Experiment& experiment);

// What a finished stage left in <folder>/DONE (JSON, written last).
struct StageRecord {
  Digest key;
  Digest result;         // digest of what the stage made; enters the keys of the stages after it
  double seconds = 0.0;  // wall time, for the report and for plan's predictions
  std::uint64_t images = 0;
};

// nullopt when there is no DONE file; DataError when it is unreadable.
std::optional<StageRecord> read_done(const std::filesystem::path& stage_folder);
void write_done(const std::filesystem::path& stage_folder, const StageRecord& record);

// Key of a stage: digest of its kind, settings and the results of its inputs (in order); nullopt while an input is not
// done.
std::optional<Digest> stage_key(const Stage& stage, const std::vector<Stage>& stages,
                                const std::filesystem::path& run_folder);
// Done with the key it has now.
bool is_done(const Stage& stage, const std::vector<Stage>& stages, const std::filesystem::path& run_folder);

}  // namespace soup
