// soup plan: what a run would do.
#include "experiments/plan.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "experiments/verbs/verbs.hpp"
#include "launch/gpu_inventory.hpp"

namespace soup {

Verb add_plan(CLI::App& program) {
  struct PlanArguments {
    std::string file;
    std::vector<std::string> overrides;
    int ranks = 1;
    bool resolved = false;
  };
  auto arguments = std::make_shared<PlanArguments>();
  CLI::App* app = program.add_subcommand("plan", "Show what a run would do; writes nothing");
  app->description(
      "Reads and checks an experiment and prints what `soup run` would do with it: which ranks train which shard, "
      "which\n"
      "stages are done already, and images, time, disk and memory of the others. Writes nothing. All that can be "
      "found\n"
      "wrong before the start (a missing icon theme, a base of another shape, a run folder one may not write to or "
      "that\n"
      "belongs to another experiment, too little disk) is listed; then the exit code is that of the first problem.");
  app->add_option("experiment", arguments->file, "The experiment's YAML file")->required();
  app->add_option("--ranks", arguments->ranks, "Processes the run will have (mpirun -n)")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app->add_option("--set", arguments->overrides, "Replace a value: --set ingredients.images=9600 (any number of times)")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app->add_flag("--resolved", arguments->resolved,
                "Print the whole experiment, defaults included, instead of the plan");
  app->footer(
      help_footer("  soup plan configs/quickstart.yaml --ranks 2\n"
                  "  soup plan configs/quickstart.yaml --set data.shards[0].weight=2 --resolved"));
  return {app, [arguments] {
            const Experiment experiment = load_experiment(arguments->file, arguments->overrides);
            if (arguments->resolved) {
              fmt::print("{}", to_yaml(experiment));
              return 0;
            }
            const Plan plan = make_plan(experiment, arguments->ranks, probe_gpus());
            fmt::print("{}", describe(plan, experiment));
            return plan.problems.empty() ? 0 : static_cast<int>(plan.problems.front().exit_code());
          }};
}

}  // namespace soup
