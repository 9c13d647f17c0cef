#include "experiments/verify.hpp"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <system_error>

#include "core/digest.hpp"
#include "core/error.hpp"
#include "data/shard_file.hpp"
#include "experiments/experiment.hpp"
#include "experiments/missing.hpp"
#include "experiments/stage.hpp"
#include "experiments/verify_soup.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/ledger.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

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

std::string verify_duplicates(const fs::path& run_folder, const StageRecord& record) {
  for (const auto& [shard, digest] : record.parts) {
    const fs::path file = exclusion_file(run_folder, shard);
    require_equal(file, "dropped images", sha256_file(file), digest);
  }
  require_equal(run_folder / "duplicates", "all lists", digest_of_parts(record.parts), record.result);
  return fmt::format("the lists of {} shards", record.parts.size());
}

void verify_stage(Verifier& verifier, const Stage& stage, const fs::path& run_folder, const VerifyOptions& options) {
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
  if (stage.kind == StageKind::soup) {
    verify_soup(verifier, folder, record->result, options);
    return;
  }
  verifier.check(folder, [&]() -> std::string {
    switch (stage.kind) {
      case StageKind::import_shard:
        static_cast<void>(verifier.is_first_look(folder / "shard.h5"));
        return verify_shard(folder / "shard.h5", record->result);
      case StageKind::duplicates:
        return verify_duplicates(run_folder, *record);
      case StageKind::base:
      case StageKind::ingredient:
      case StageKind::paragon:
        return verify_model(folder, record->result);
      case StageKind::soup:  // above
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

std::vector<Finding> verify_run(const fs::path& run_folder, const VerifyOptions& options) {
  const Experiment experiment = load_experiment(run_folder / "experiment.yaml", {});
  const std::vector<Stage> stages = surviving_stages(experiment);
  Verifier verifier;
  for (const Stage& stage : stages) {
    verify_stage(verifier, stage, run_folder, options);
  }
  verify_origin(verifier, stages, run_folder);
  std::vector<Finding> findings = verifier.take();
  if (findings.empty()) {
    throw DataError(run_folder, "no stage of this run is finished: there is nothing to verify");
  }
  return findings;
}

}  // namespace

std::vector<Finding> verify(const fs::path& path, const VerifyOptions& options) {
  std::error_code error;
  Verifier verifier;
  if (fs::is_regular_file(path / "experiment.yaml", error)) {
    return verify_run(path, options);
  }
  if (fs::is_regular_file(path / ledger_name, error)) {
    verify_soup(verifier, path, std::nullopt, options);
  } else if (fs::is_regular_file(path, error) && path.extension() == ".json") {
    verify_certificate(verifier, path, options);
  } else if (fs::is_regular_file(path / "model_index.json", error)) {
    verifier.check(path, [&path] { return verify_model(path, std::nullopt); });
  } else if (fs::is_regular_file(path, error) && path.extension() == ".h5") {
    verifier.check(path, [&path] { return verify_shard(path, std::nullopt); });
  } else {
    throw DataError(path, fs::exists(path, error) ? "is nothing that carries digests" : "does not exist",
                    "give a run folder (experiment.yaml), a soup (ledger.json), a model folder (model_index.json), a "
                    "shard file (.h5) or a certificate (.json)");
  }
  return verifier.take();
}

}  // namespace soup
