// The stages of a run as values: name, folder, key. run, plan and verify all walk the same list.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "experiments/experiment.hpp"

namespace soup {

enum class StageKind { import_shard, scorer, duplicates, base, ingredient, soup, paragon, evaluate, report };

// What a stage is called, where it lies and what its inputs are:
//
//   name                      folder (below the run folder)   inputs
//   import/oxygen             data/oxygen
//   import/base.papirus       data/base.papirus                                  (a shard's name holds no dot)
//   scorer                    scorer                          every import; only with a scorer section
//   duplicates                duplicates                      every import
//   base                      base                            the base shards' imports; none for base.model
//   ingredient/oxygen         ingredients/oxygen              import/oxygen, duplicates#oxygen, base
//   soup                      soup                            base, every ingredient
//   soup/without-oxygen       soups/without-oxygen            base, every other ingredient
//   paragon/equal-total       paragon/equal-total             base, and import/x, duplicates#x of every shard
//   paragon/one-shard         paragon/one-shard               (both paragons are one where there is one shard)
//   evaluate                  evaluation                      every data import, base, ingredient, soup, paragon
//   report                    report                          duplicates, evaluate
//
// "stage#part" stands for one part of a stage's result: the duplicates stage records, per data shard, the digest of
// that shard's own list of dropped images (StageRecord::parts, keyed by the shard's name). So a new shard changes the
// duplicates' result, but retrains no ingredient that keeps its images.
struct Stage {
  StageKind kind = StageKind::import_shard;
  std::string name;
  std::filesystem::path folder;  // relative to the run folder
  std::size_t shard = 0;  // index into data.shards (import, ingredient, the shard a leave-one-out soup leaves out)
                          // or base.shards (is_base_shard)
  bool is_base_shard = false;
  std::vector<std::string> inputs;  // names of the stages, or stage#part, whose results enter the key
  std::string settings;             // canonical text of everything else that decides the result
  std::string trajectory;           // of a training: settings without its length where that decides only the end
  std::uint64_t images = 0;         // images trained on by this stage; 0 where it trains nothing
};

// In order of execution: imports, duplicates, base, ingredients, soup, leave-one-out soups, paragons, evaluate, report.
// A run without shards has only the base shards' imports and the base.
// Reads what identifies the sources (index.theme and Debian changelog, IDX files, a shard file's Merkle root, a base
// model's files): a source that is missing is no error here, its stage says so when it runs.
std::vector<Stage> stages_of(const Experiment& experiment);

// How a base, ingredient or paragon stage trains: images and learning rate filled in.
TrainConfig train_config_of(const Stage& stage, const Experiment& experiment);
// The spec of an import stage's or an ingredient's shard.
const ShardSpec& shard_of(const Stage& stage, const Experiment& experiment);

// What a finished stage left in <folder>/DONE (JSON, written last).
struct StageRecord {
  Digest key;
  Digest result;         // digest of what the stage made; enters the keys of the stages after it
  double seconds = 0.0;  // wall time, for the report and for plan's predictions
  int ranks = 1;         // that did it
  std::uint64_t images = 0;
  std::map<std::string, Digest> parts = {};  // digests of the parts of the result that others may take alone
};

// nullopt when there is no DONE file; DataError when it is unreadable.
std::optional<StageRecord> read_done(const std::filesystem::path& stage_folder);
void write_done(const std::filesystem::path& stage_folder, const StageRecord& record);
// Throws DataError where it stays.
void remove_done(const std::filesystem::path& stage_folder);

// The duplicates stage's result: digest of all its parts, by name.
Digest digest_of_parts(const std::map<std::string, Digest>& parts);

// Key of a stage: digest of its kind, name, settings and the results of its inputs (in order); nullopt while an input
// is not done with the key it has now.
std::optional<Digest> stage_key(const Stage& stage, const std::vector<Stage>& stages,
                                const std::filesystem::path& run_folder);
// Key of a training's checkpoints: as stage_key, of the trajectory. A training that is made longer goes on from them.
std::optional<Digest> trajectory_key(const Stage& stage, const std::vector<Stage>& stages,
                                     const std::filesystem::path& run_folder);
// Done with the key it has now.
bool is_done(const Stage& stage, const std::vector<Stage>& stages, const std::filesystem::path& run_folder);

// The file of the duplicates stage that lists the images of one data shard that are not trained on.
std::filesystem::path exclusion_file(const std::filesystem::path& run_folder, const std::string& shard);

}  // namespace soup
