// soup score: a model's score on a run's held-out data, as a line of JSON.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "experiments/model_score.hpp"
#include "experiments/shard_access.hpp"
#include "experiments/stage.hpp"
#include "experiments/verbs/compute_options.hpp"
#include "experiments/verbs/enum_choice.hpp"
#include "experiments/verbs/torch_verbs.hpp"

namespace soup {

namespace {

struct ScoreArguments {
  std::string file;
  std::vector<std::string> overrides;
  std::string model;
  ScoreRequest request;
  ComputeOptions compute;
};

// The data shards that the run has imported.
std::vector<ShardFile> open_shards(const Experiment& experiment) {
  std::vector<ShardFile> shards;
  for (const Stage& stage : stages_of(experiment)) {
    if (stage.kind == StageKind::import_shard && !stage.is_base_shard) {
      shards.emplace_back(shard_path(experiment.run_folder, stage));
    }
  }
  if (shards.empty()) {
    throw ConfigError("experiment " + experiment.name + " has no shards to score by");
  }
  return shards;
}

int score(const ScoreArguments& arguments) {
  const at::Device device = set_up(arguments.compute);
  const Experiment experiment = load_experiment(arguments.file, arguments.overrides);
  const std::vector<ShardFile> shards = open_shards(experiment);
  ScoreRequest request = arguments.request;
  request.device = device;
  const std::vector<double> scores = score_model(experiment.evaluation, shards, held_out_of(experiment),
                                                 SeedTree(experiment.seed), arguments.model, request);
  fmt::print("{}\n", nlohmann::json{{"measure", request.measure}, {"scores", scores}}.dump());
  return 0;
}

}  // namespace

Verb add_score(CLI::App& program) {
  auto arguments = std::make_shared<ScoreArguments>();
  ScoreRequest& request = arguments->request;
  CLI::App* app = program.add_subcommand("score", "Score any model on the held-out data of an experiment's run");
  app->description(
      "Prints one score for each held-out item as JSON, the same items for every model: what `soup search` compares\n"
      "soups by. Reads the shard files of the experiment's run folder.");
  app->add_option("experiment", arguments->file, "The experiment's YAML file")->required();
  app->add_option("--model", arguments->model, "Model folder in diffusers' layout")
      ->required()
      ->check(CLI::ExistingDirectory);
  app->add_option("--measure", request.measure,
                  "denoising_loss (lower is better), or alignment of generated images with their prompts (higher)")
      ->check(CLI::IsMember({"denoising_loss", "alignment"}))
      ->capture_default_str();
  app->add_option("--half", request.half, "Of the items: one half to search by, the other to confirm by")
      ->transform(one_of<Half>({{"all", Half::all}, {"first", Half::first}, {"second", Half::second}}))
      ->default_str("all");
  app->add_option("--weights", request.weights, "Plain weights or averages")
      ->transform(one_of<WeightSet>({{"raw", WeightSet::raw}, {"ema", WeightSet::ema}}))
      ->default_str("raw");
  app->add_option("--set", arguments->overrides, "Replace a value of the experiment (any number of times)")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  add_compute_options(*app, arguments->compute);
  app->footer(
      help_footer("  soup score configs/quickstart.yaml --model runs/quickstart/soup --half first\n"
                  "  soup search runs/quickstart/ingredients/* --lower-is-better --output best \\\n"
                  "    --score \"soup score configs/quickstart.yaml --model {model} --half first\" \\\n"
                  "    --confirm \"soup score configs/quickstart.yaml --model {model} --half second\""));
  return {app, [arguments] { return score(*arguments); }};
}

}  // namespace soup
