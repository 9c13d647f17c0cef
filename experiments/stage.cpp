#include "experiments/stage.hpp"

#include <fmt/format.h>

#include <functional>
#include <set>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "experiments/experiment_keys.hpp"
#include "experiments/source_identity.hpp"
#include "experiments/yaml_writer.hpp"

namespace soup {

namespace {

std::string import_name(const ShardSpec& shard, bool is_base) {
  return (is_base ? "import/base." : "import/") + shard.name;
}

// Canonical text of the values that decide a training's weights: not what is only logged, checked or saved on the way.
std::string training_text(TrainConfig train, std::set<std::string, std::less<>> left_out = {}) {
  left_out.insert({"checkpoint_images", "keep_checkpoints", "log_images", "validate_images", "snapshots"});
  return write_keys([&train](Keys& keys) { describe(keys, train); }, left_out);
}

// The same for every length of the training, where the length changes nothing on the way: at a constant rate.
std::string trajectory_text(const TrainConfig& train) {
  return train.lr_schedule == "constant" ? training_text(train, {"images"}) : training_text(train);
}

// The split decides which images every trainer and evaluation sees.
std::string split_text(const Experiment& experiment) {
  return fmt::format("seed: {}\nheld_out: {}\nheld_out_seed: {}\n", experiment.seed,
                     yaml_number(experiment.data.held_out), experiment.data.held_out_seed);
}

Stage import_stage(const Experiment& experiment, std::size_t index, bool is_base) {
  ShardSpec shard = is_base ? experiment.base.shards[index] : experiment.data.shards[index];
  Stage stage;
  stage.kind = StageKind::import_shard;
  stage.name = import_name(shard, is_base);
  stage.folder = std::filesystem::path("data") / ((is_base ? "base." : "") + shard.name);
  stage.shard = index;
  stage.is_base_shard = is_base;
  // Where a source lies does not matter, what it is does.
  stage.settings =
      write_keys([&shard](Keys& keys) { describe(keys, shard); },
                 {"weight", "images", "ranks", "icon_theme.root", "idx.images", "idx.labels", "file"}) +
      identity_of(shard) +
      fmt::format("resolution: {}\nmax_broken_fraction: {}\nseconds_per_image: {}\n", experiment.data.resolution,
                  yaml_number(experiment.data.max_broken_fraction), yaml_number(experiment.data.seconds_per_image));
  if (experiment.data.latents && !is_base) {
    stage.settings += fmt::format("latents: {}\nclip_skip: {}\n", identity_of_model(*experiment.base.model),
                                  experiment.ingredients.clip_skip);
  }
  return stage;
}

// By `soup train --scorer` only: a run takes the scorer that evaluation.scorer names.
Stage scorer_stage(const Experiment& experiment, const std::vector<Stage>& imports) {
  ScorerConfig scorer = *experiment.scorer;
  Stage stage;
  stage.kind = StageKind::scorer;
  stage.name = "scorer";
  stage.folder = "scorer";
  for (const Stage& shard : imports) {
    stage.inputs.push_back(shard.name);
  }
  stage.settings = split_text(experiment) + write_keys([&scorer](Keys& keys) { describe(keys, scorer); }, {});
  return stage;
}

Stage duplicates_stage(const Experiment& experiment) {
  Stage stage;
  stage.kind = StageKind::duplicates;
  stage.name = "duplicates";
  stage.folder = "duplicates";
  for (const ShardSpec& shard : experiment.data.shards) {
    stage.inputs.push_back(import_name(shard, false));
  }
  for (const ShardSpec& shard : experiment.base.shards) {
    stage.inputs.push_back(import_name(shard, true));
  }
  stage.settings =
      fmt::format("exact: {}\nnear: {}\nhash_distance: {}\nrms_limit: {}\n", name_of(experiment.data.exact_duplicates),
                  name_of(experiment.data.near_duplicates), experiment.data.duplicates.hash_distance,
                  yaml_number(experiment.data.duplicates.rms_limit));
  return stage;
}

Stage base_stage(const Experiment& experiment) {
  Stage stage;
  stage.kind = StageKind::base;
  stage.name = "base";
  stage.folder = "base";
  if (experiment.base.model) {
    stage.settings = "model: " + identity_of_model(*experiment.base.model) + "\n";
    return stage;
  }
  for (const ShardSpec& shard : experiment.base.shards) {
    stage.inputs.push_back(import_name(shard, true));
  }
  ModelConfig architecture = experiment.base.architecture;
  const std::string model = fmt::format("vocab_size: {}\n", experiment.base.vocab_size) +
                            write_keys([&architecture](Keys& keys) { describe(keys, architecture); }, {});
  stage.settings = split_text(experiment) + training_text(experiment.base.train) + model;
  stage.trajectory = split_text(experiment) + trajectory_text(experiment.base.train) + model;
  stage.images = experiment.base.train.images;
  return stage;
}

Stage ingredient_stage(const Experiment& experiment, std::size_t index) {
  const std::string& shard = experiment.data.shards[index].name;
  Stage stage;
  stage.kind = StageKind::ingredient;
  stage.name = "ingredient/" + shard;
  stage.folder = std::filesystem::path("ingredients") / shard;
  stage.shard = index;
  stage.inputs = {import_name(experiment.data.shards[index], false), "duplicates#" + shard, "base"};
  stage.images = images_of(experiment.data.shards[index], experiment);
  stage.settings = split_text(experiment) + training_text(train_config_of(stage, experiment));
  stage.trajectory = split_text(experiment) + trajectory_text(train_config_of(stage, experiment));
  return stage;
}

// The soup of all shards, or of all but one.
Stage soup_stage(const Experiment& experiment, std::optional<std::size_t> without) {
  Stage stage;
  stage.kind = StageKind::soup;
  stage.name = "soup";
  stage.folder = "soup";
  if (without) {
    const std::string leaf = "without-" + experiment.data.shards[*without].name;
    stage.name += "/" + leaf;
    stage.folder = std::filesystem::path("soups") / leaf;
    stage.shard = *without;
  }
  stage.inputs = {"base"};
  stage.settings = fmt::format("scale_bits: {}\nweights:\n", experiment.soup.scale_bits);
  for (std::size_t i = 0; i < experiment.data.shards.size(); ++i) {
    if (i != without) {
      const ShardSpec& shard = experiment.data.shards[i];
      stage.inputs.push_back("ingredient/" + shard.name);
      stage.settings += fmt::format("  {}: {}\n", shard.name, shard.weight);
    }
  }
  return stage;
}

Stage paragon_stage(const Experiment& experiment, const std::string& leaf, std::uint64_t images) {
  Stage stage;
  stage.kind = StageKind::paragon;
  stage.name = "paragon/" + leaf;
  stage.folder = std::filesystem::path("paragon") / leaf;
  stage.inputs = {"base"};
  for (const ShardSpec& shard : experiment.data.shards) {
    stage.inputs.push_back(import_name(shard, false));
    stage.inputs.push_back("duplicates#" + shard.name);
  }
  stage.images = images;
  stage.settings = split_text(experiment) + training_text(train_config_of(stage, experiment));
  stage.trajectory = split_text(experiment) + trajectory_text(train_config_of(stage, experiment));
  return stage;
}

Stage evaluate_stage(const Experiment& experiment, const std::vector<Stage>& before) {
  Stage stage;
  stage.kind = StageKind::evaluate;
  stage.name = "evaluate";
  stage.folder = "evaluation";
  for (const Stage& each : before) {
    if (each.kind != StageKind::duplicates && each.kind != StageKind::scorer && !each.is_base_shard) {
      stage.inputs.push_back(each.name);
    }
  }
  EvaluationConfig evaluation = experiment.evaluation;
  stage.settings = split_text(experiment) +
                   write_keys([&evaluation](Keys& keys) { describe(keys, evaluation); }, {"scorer"}) +
                   "scorer: " + identity_of_folder(evaluation.scorer) + "\n";
  if (evaluation.sampling.clip_skip != 1) {
    stage.settings += fmt::format("clip_skip: {}\n", evaluation.sampling.clip_skip);
  }
  return stage;
}

Stage report_stage(const Experiment& experiment) {
  Stage stage;
  stage.kind = StageKind::report;
  stage.name = "report";
  stage.folder = "report";
  stage.inputs = {"duplicates", "evaluate"};
  stage.settings = "name: " + experiment.name + "\n";
  return stage;
}

}  // namespace

std::vector<Stage> stages_of(const Experiment& experiment) {
  const std::size_t shards = experiment.data.shards.size();
  std::vector<Stage> stages;
  for (std::size_t i = 0; i < experiment.base.shards.size(); ++i) {
    stages.push_back(import_stage(experiment, i, true));
  }
  for (std::size_t i = 0; i < shards; ++i) {
    stages.push_back(import_stage(experiment, i, false));
  }
  if (experiment.scorer) {
    stages.push_back(scorer_stage(experiment, stages));
  }
  if (shards > 0) {
    stages.push_back(duplicates_stage(experiment));
  }
  stages.push_back(base_stage(experiment));
  if (shards == 0) {
    return stages;
  }
  for (std::size_t i = 0; i < shards; ++i) {
    stages.push_back(ingredient_stage(experiment, i));
  }
  stages.push_back(soup_stage(experiment, std::nullopt));
  for (std::size_t i = 0; experiment.soup.leave_one_out && shards > 1 && i < shards; ++i) {
    stages.push_back(soup_stage(experiment, i));
  }
  if (experiment.paragon.equal_total) {
    std::uint64_t total = 0;
    for (const ShardSpec& shard : experiment.data.shards) {
      total += images_of(shard, experiment);
    }
    stages.push_back(paragon_stage(experiment, "equal-total", total));
  }
  if (experiment.paragon.one_shard && !(experiment.paragon.equal_total && shards == 1)) {
    stages.push_back(paragon_stage(experiment, "one-shard", experiment.ingredients.images));
  }
  stages.push_back(evaluate_stage(experiment, stages));
  stages.push_back(report_stage(experiment));
  return stages;
}

TrainConfig train_config_of(const Stage& stage, const Experiment& experiment) {
  const bool trains =
      stage.kind == StageKind::base || stage.kind == StageKind::ingredient || stage.kind == StageKind::paragon;
  SOUP_REQUIRE(trains && stage.images > 0, "the stage " + stage.name + " trains nothing");
  TrainConfig train = stage.kind == StageKind::base ? experiment.base.train : experiment.ingredients;
  train.images = stage.images;
  if (stage.kind == StageKind::paragon) {
    train.learning_rate = experiment.paragon.learning_rate.value_or(train.learning_rate);
  }
  return train;
}

const ShardSpec& shard_of(const Stage& stage, const Experiment& experiment) {
  const auto& shards = stage.is_base_shard ? experiment.base.shards : experiment.data.shards;
  SOUP_REQUIRE(stage.shard < shards.size(), "the stage " + stage.name + " has no shard");
  return shards[stage.shard];
}

std::filesystem::path exclusion_file(const std::filesystem::path& run_folder, const std::string& shard) {
  return run_folder / "duplicates" / (shard + ".json");
}

}  // namespace soup
