#include "experiments/verify.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <optional>
#include <system_error>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "data/shard_file.hpp"
#include "experiments/experiment.hpp"
#include "experiments/stage.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/ledger.hpp"
#include "merge/merge_files.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// A folder of its own below the system's temporary folder, removed with all it holds.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (fs::temp_directory_path() / "soup-verify-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw DataError(pattern, "cannot be made: " + std::generic_category().message(errno),
                      "set TMPDIR to a folder with room for one model");
    }
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void require_equal(const fs::path& path, const std::string& what, const Digest& found, const Digest& promised) {
  if (found != promised) {
    throw DataError(path, fmt::format("{}: {} was promised, {} was found", what, promised.brief(), found.brief()),
                    "the content has changed since; make it again, or take it from a backup");
  }
}

class Verifier {
 public:
  // Runs one check; what it throws is its finding.
  void check(const fs::path& what, const std::function<std::string()>& body) {
    try {
      findings_.push_back({what, true, body()});
    } catch (const Error& error) {
      findings_.push_back({what, false, error.message()});
    }
  }
  [[nodiscard]] std::vector<Finding> take() { return std::move(findings_); }

 private:
  std::vector<Finding> findings_;
};

std::string verify_shard(const fs::path& file, const std::optional<Digest>& promised) {
  const ShardFile shard(file);
  shard.verify();
  if (promised) {
    require_equal(file, "Merkle root", shard.root(), *promised);
  }
  return fmt::format("{} images, root {}", shard.size(), shard.root().brief());
}

// Weights against the model's own record, and against what a run's DONE file says.
std::string verify_model(const fs::path& folder, const std::optional<Digest>& promised) {
  const std::map<std::string, Digest> parts = part_digests(folder);
  const auto record = find_ingredient_record(folder);
  if (record) {
    for (const auto& [part, digest] : record->weights) {
      const auto found = parts.find(part);
      if (found == parts.end()) {
        throw DataError(folder / part, fmt::format("{} lists this part, but it is not here", ingredient_record_name));
      }
      require_equal(folder / part, "weights", found->second, digest);
    }
  }
  const Digest digest = model_digest(parts);
  if (promised) {
    require_equal(folder, "weights", digest, *promised);
  }
  return fmt::format("{} parts, weights {}{}", parts.size(), digest.brief(),
                     record ? fmt::format(", as {} says", ingredient_record_name) : "");
}

std::string verify_soup(const fs::path& folder, const std::optional<Digest>& promised) {
  const Ledger ledger = read_ledger(folder);
  if (promised) {
    require_equal(folder, "soup", ledger.soup_digest(), *promised);
  }
  const std::map<std::string, Digest> parts = part_digests(folder);
  for (const auto& [part, digest] : ledger.parts) {
    const auto found = parts.find(part);
    if (found == parts.end()) {
      throw DataError(folder / part, fmt::format("{} lists this part, but it is not here", ledger_name));
    }
    require_equal(folder / part, "weights", found->second, digest);
  }
  std::vector<MergeInput> inputs;
  const auto add_input = [&](const LedgerIngredient& ingredient, bool is_base) {
    inputs.push_back({ingredient.name,
                      (folder / ingredient.path).lexically_normal(),
                      ingredient.weight,
                      {},
                      ingredient.asked_weight,
                      is_base});
  };
  for (const LedgerIngredient& ingredient : ledger.ingredients) {
    add_input(ingredient, false);
  }
  if (ledger.base) {
    add_input(*ledger.base, true);
  }
  MergeOptions options;
  options.method = ledger.blend;
  options.rules = ledger.rules;
  options.scale_bits = ledger.scale_bits;
  options.dtype = soup_dtype_of(ledger);
  options.parts.emplace();
  for (const auto& [part, digest] : ledger.parts) {
    options.parts->push_back(part);
  }
  const ScratchFolder scratch;
  const Ledger again = merge(inputs, scratch.path() / "soup", options);
  for (const auto& [part, digest] : ledger.parts) {
    require_equal(folder / part, "made again from its ingredients", again.parts.at(part), digest);
  }
  return fmt::format("the same bits again from {} ingredients, {}", ledger.ingredients.size(),
                     ledger.blend ? "method " + ledger.method() : fmt::format("total weight {}", ledger.total_weight));
}

std::string verify_duplicates(const fs::path& run_folder, const StageRecord& record) {
  for (const auto& [shard, digest] : record.parts) {
    const fs::path file = exclusion_file(run_folder, shard);
    require_equal(file, "dropped images", sha256_file(file), digest);
  }
  require_equal(run_folder / "duplicates", "all lists", digest_of_parts(record.parts), record.result);
  return fmt::format("the lists of {} shards", record.parts.size());
}

void verify_stage(Verifier& verifier, const Stage& stage, const fs::path& run_folder) {
  const fs::path folder = run_folder / stage.folder;
  std::optional<StageRecord> record;
  try {
    record = read_done(folder);
  } catch (const DataError& error) {
    verifier.check(folder, [&error]() -> std::string { throw error; });
    return;
  }
  if (!record) {
    return;  // not finished: nothing was promised
  }
  verifier.check(folder, [&]() -> std::string {
    switch (stage.kind) {
      case StageKind::import_shard:
        return verify_shard(folder / "shard.h5", record->result);
      case StageKind::duplicates:
        return verify_duplicates(run_folder, *record);
      case StageKind::base:
      case StageKind::ingredient:
      case StageKind::paragon:
        return verify_model(folder, record->result);
      case StageKind::soup:
        return verify_soup(folder, record->result);
      case StageKind::scorer:
      case StageKind::evaluate:
      case StageKind::report:
        return "finished; made from the above";
    }
    return {};
  });
}

// nullopt also for a DONE file that cannot be read: verify_stage has said so.
std::optional<StageRecord> readable_done(const fs::path& folder) {
  try {
    return read_done(folder);
  } catch (const DataError&) {
    return std::nullopt;
  }
}

// Every ingredient and paragon must have started from this run's base.
void verify_origin(Verifier& verifier, const std::vector<Stage>& stages, const fs::path& run_folder) {
  const std::optional<StageRecord> base = readable_done(run_folder / "base");
  if (!base) {
    return;
  }
  for (const Stage& stage : stages) {
    const fs::path folder = run_folder / stage.folder;
    const bool from_base = stage.kind == StageKind::ingredient || stage.kind == StageKind::paragon;
    if (from_base && readable_done(folder)) {
      verifier.check(folder, [&] {
        const IngredientRecord record = read_ingredient_record(folder);
        if (!record.base_digest) {
          throw DataError(folder, "does not say which base it started from");
        }
        require_equal(folder, "base", *record.base_digest, base->result);
        return "started from the base " + base->result.brief();
      });
    }
  }
}

std::vector<Finding> verify_run(const fs::path& run_folder) {
  const Experiment experiment = load_experiment(run_folder / "experiment.yaml", {});
  const std::vector<Stage> stages = stages_of(experiment);
  Verifier verifier;
  for (const Stage& stage : stages) {
    verify_stage(verifier, stage, run_folder);
  }
  verify_origin(verifier, stages, run_folder);
  std::vector<Finding> findings = verifier.take();
  if (findings.empty()) {
    throw DataError(run_folder, "no stage of this run is finished: there is nothing to verify");
  }
  return findings;
}

}  // namespace

std::vector<Finding> verify(const fs::path& path) {
  std::error_code error;
  Verifier verifier;
  if (fs::is_regular_file(path / "experiment.yaml", error)) {
    return verify_run(path);
  }
  if (fs::is_regular_file(path / ledger_name, error)) {
    verifier.check(path, [&path] { return verify_soup(path, std::nullopt); });
  } else if (fs::is_regular_file(path / "model_index.json", error)) {
    verifier.check(path, [&path] { return verify_model(path, std::nullopt); });
  } else if (fs::is_regular_file(path, error) && path.extension() == ".h5") {
    verifier.check(path, [&path] { return verify_shard(path, std::nullopt); });
  } else {
    throw DataError(path, fs::exists(path, error) ? "is nothing that carries digests" : "does not exist",
                    "give a run folder (experiment.yaml), a soup (ledger.json), a model folder (model_index.json) or a "
                    "shard file (.h5)");
  }
  return verifier.take();
}

}  // namespace soup
