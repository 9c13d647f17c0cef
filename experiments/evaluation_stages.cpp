// The stages after the soups: evaluation and report.
#include "experiments/evaluation_stages.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "experiments/evaluation.hpp"
#include "experiments/evaluation_summary.hpp"
#include "experiments/report.hpp"
#include "experiments/scorer_training.hpp"
#include "experiments/shard_access.hpp"
#include "experiments/training_stages.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// Digest of all records, by name.
Digest records_digest(const fs::path& folder) {
  std::vector<fs::path> records;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".jsonl") {
      records.push_back(entry.path());
    }
  }
  std::ranges::sort(records);
  Sha256 hash;
  for (const fs::path& record : records) {
    hash.update_field(record.filename().string()).update_field(sha256_file(record).hex());
  }
  return hash.finish();
}

Digest evaluate_all(const RunContext& context, const Stage& stage, const Digest& key) {
  const Experiment& experiment = context.experiment;
  const fs::path folder = context.folder_of(stage);
  Communicator& all = *context.patient;
  std::vector<ShardFile> shards;
  std::unique_ptr<Evaluation> evaluation;
  agreed(all, [&] {
    fs::create_directories(folder);
    for (const Stage* shard : import_stages(context, false)) {
      shards.emplace_back(shard_path(experiment.run_folder, *shard));
    }
    evaluation = std::make_unique<Evaluation>(experiment.evaluation, shards, held_out_of(experiment),
                                              SeedTree(experiment.seed), folder, key.hex(), context.device);
  });
  agreed(all, [&] {
    const std::vector<EvaluatedModel> models = evaluated_models(experiment, base_folder(experiment));
    for (std::size_t i = 0; i < models.size(); ++i) {
      if (static_cast<int>(i % static_cast<std::size_t>(all.size())) == all.rank()) {
        evaluation->evaluate(models[i], context.log);
      }
    }
    if (all.rank() == 0) {
      evaluation->evaluate_real(context.log);
    }
  });
  return agreed(all, [&] {
    if (all.rank() != 0) {
      return Digest{};
    }
    summarise_evaluation(experiment, base_folder(experiment), folder, SeedTree(experiment.seed));
    return records_digest(folder);
  });
}

}  // namespace

void run_scorer(const RunContext& context) {
  const std::vector<const Stage*> stages = context.of_kind(StageKind::scorer);
  if (stages.empty()) {
    throw ConfigError("soup train --scorer: the experiment has no section scorer", "see configs/scorer-icons.yaml");
  }
  run_stage(context, *stages.front(), *context.patient, [&](const Digest& key) -> StageResult {
    if (context.topology.rank != 0) {
      return {};
    }
    std::vector<ShardFile> shards;
    for (const bool base_shards : {true, false}) {
      for (const Stage* shard : import_stages(context, base_shards)) {
        shards.emplace_back(shard_path(context.experiment.run_folder, *shard));
      }
    }
    ScorerConfig config = *context.experiment.scorer;
    config.held_out = held_out_of(context.experiment);
    const fs::path folder = context.folder_of(*stages.front());
    const ScorerAccuracy accuracy =
        train_scorer(config, shards, SeedTree(context.experiment.seed), key, context.log, folder);
    context.log.info("scorer on held-out icons: " + to_json(accuracy).dump());
    return {sha256_file(folder / "model.safetensors")};
  });
}

void run_evaluation(const RunContext& context) {
  for (const Stage* stage : context.of_kind(StageKind::evaluate)) {
    run_stage(context, *stage, *context.patient,
              [&](const Digest& key) -> StageResult { return {evaluate_all(context, *stage, key)}; });
  }
}

void run_report(const RunContext& context) {
  for (const Stage* stage : context.of_kind(StageKind::report)) {
    run_stage(context, *stage, *context.patient, [&](const Digest&) -> StageResult {
      if (context.topology.rank != 0) {
        return {};
      }
      const fs::path page = context.folder_of(*stage) / "index.html";
      fs::create_directories(page.parent_path());
      write_report(context.experiment, page);
      context.log.info("report: " + fs::absolute(page).string());
      return {sha256_file(page)};
    });
  }
}

}  // namespace soup
