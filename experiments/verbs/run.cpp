// soup run, soup train, soup evaluate: an experiment, or one part of it, with all that the part needs.
#include "experiments/run.hpp"

#include <mpi.h>
#include <sys/stat.h>
#include <torch/version.h>

#include <CLI/CLI.hpp>
#include <array>
#include <memory>

#include "core/error.hpp"
#include "experiments/verbs/torch_verbs.hpp"

namespace soup {

namespace {

struct RunArguments {
  std::string file;
  std::vector<std::string> overrides;
  std::string shard;
  bool ingredients = false;
  bool base = false;
  bool paragon = false;
  bool scorer = false;
  bool soup = false;
};

void add_experiment_options(CLI::App& app, RunArguments& arguments) {
  app.add_option("experiment", arguments.file, "The experiment's YAML file")->required();
  app.add_option("--set", arguments.overrides, "Replace a value: --set ingredients.images=9600 (any number of times)")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

std::map<std::string, std::string> library_versions() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> mpi{};
  int length = 0;
  if (MPI_Get_library_version(mpi.data(), &length) != MPI_SUCCESS) {
    throw CommError("MPI_Get_library_version", "failed");
  }
  // Up to the first zero: Open MPI counts that one in `length`.
  return {{"LibTorch", TORCH_VERSION}, {"MPI", mpi.data()}};
}

int run_goal(const RunArguments& arguments, RunGoal goal, MpiRuntime& mpi) {
  const Experiment experiment = load_experiment(arguments.file, arguments.overrides);
  if (!experiment.launch.umask.empty()) {
    ::umask(static_cast<mode_t>(std::stoul(experiment.launch.umask, nullptr, 8)));
  }
  std::unique_ptr<Communicator> world = mpi.world();
  Log log(world->rank());
  RunRequest request{.goal = goal,
                     .shard = std::nullopt,
                     .local_rank = mpi.local_rank(),
                     .local_ranks = mpi.local_size(),
                     .libraries = library_versions()};
  if (!arguments.shard.empty()) {
    request.shard = arguments.shard;
  }
  run_experiment(experiment, request, std::move(world), log);
  return 0;
}

}  // namespace

Verb add_run(CLI::App& program, MpiRuntime& mpi) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* app =
      program.add_subcommand("run", "Run an experiment: all its stages in order, skipping those that are done");
  app->description(
      "Runs an experiment: imports the shards, trains base, ingredients and paragons, makes the soups, evaluates and\n"
      "writes the report. A stage that is done is skipped, an interrupted training goes on from its checkpoint: give "
      "the\n"
      "same command again after a stop, a crash or a change of the YAML. Alone, or under mpirun / srun with any number "
      "of\n"
      "ranks: groups of launch.ranks_per_group ranks train one shard each; a free group takes the next.");
  add_experiment_options(*app, *arguments);
  app->footer(
      help_footer("  soup run configs/quickstart.yaml\n  mpirun -n 4 soup run configs/quickstart.yaml --set "
                  "launch.ranks_per_group=2"));
  return {app, [arguments, &mpi] { return run_goal(*arguments, RunGoal::all, mpi); }};
}

Verb add_train(CLI::App& program, MpiRuntime& mpi) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* app = program.add_subcommand(
      "train", "Run one part of an experiment: its base, one shard's ingredient or all, the soups, or the paragon");
  app->description(
      "Trains one model of an experiment, with imports and base where they are not done: what one element of a job\n"
      "array runs, on all its ranks. The result is the one that `soup run` would have made, in the same run folder.\n"
      "--soup averages the ingredients; soup.on_missing says what happens where some are not done.");
  add_experiment_options(*app, *arguments);
  auto* shard = app->add_option("--shard", arguments->shard, "Train the ingredient of this shard")->type_name("NAME");
  auto* base = app->add_flag("--base", arguments->base, "Train the base");
  auto* paragon = app->add_flag("--paragon", arguments->paragon, "Train the paragons");
  auto* scorer = app->add_flag("--scorer", arguments->scorer, "Train the image-text scorer that evaluations use");
  auto* ingredients = app->add_flag("--ingredients", arguments->ingredients, "Train the ingredients of all shards");
  auto* soup = app->add_flag("--soup", arguments->soup, "Make the soups of the ingredients that are there");
  const std::vector<CLI::Option*> parts = {shard, ingredients, base, paragon, scorer, soup};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (std::size_t j = i + 1; j < parts.size(); ++j) {
      parts[i]->excludes(parts[j]);
    }
  }
  app->footer(
      help_footer("  soup train configs/quickstart.yaml --shard oxygen\n  soup train configs/base-icons.yaml --base"));
  return {app, [arguments, &mpi] {
            if (!arguments->base && !arguments->ingredients && !arguments->paragon && !arguments->scorer &&
                !arguments->soup && arguments->shard.empty()) {
              throw ConfigError("soup train: nothing to train",
                                "give --shard NAME, --ingredients, --base, --paragon, --soup or --scorer");
            }
            const RunGoal goal = arguments->base      ? RunGoal::base
                                 : arguments->paragon ? RunGoal::paragons
                                 : arguments->scorer  ? RunGoal::scorer
                                 : arguments->soup    ? RunGoal::soups
                                                      : RunGoal::ingredients;
            return run_goal(*arguments, goal, mpi);
          }};
}

Verb add_evaluate(CLI::App& program, MpiRuntime& mpi) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* app = program.add_subcommand("evaluate", "Score the models of a run on held-out captions and images");
  app->description(
      "Scores every model of a finished run (base, ingredients, soups, paragons; raw and EMA weights) on the same "
      "held-out\n"
      "prompts, the same noise and the same real images, and writes evaluation/*.jsonl and the report. Models scored\n"
      "before are skipped.");
  add_experiment_options(*app, *arguments);
  app->footer(help_footer(
      "  soup evaluate configs/quickstart.yaml\n  soup evaluate configs/quickstart.yaml --set evaluation.prompts=256"));
  return {app, [arguments, &mpi] { return run_goal(*arguments, RunGoal::evaluation, mpi); }};
}

}  // namespace soup
