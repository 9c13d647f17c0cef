// soup plan: what a run would do.
#include "experiments/plan.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "experiments/simulated_run.hpp"
#include "experiments/verbs/verbs.hpp"
#include "launch/gpu_inventory.hpp"

namespace soup {

namespace {

// "120:3" of a run of so many ranks.
Failures::Event parse_failure(const std::string& text, int ranks) {
  Failures::Event event;
  const std::size_t colon = text.find(':');
  const std::string seconds = text.substr(0, colon);
  const std::string rank = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool valid = CLI::detail::lexical_cast(seconds, event.seconds) && CLI::detail::lexical_cast(rank, event.rank);
  if (!valid || !(event.seconds >= 0.0) || event.rank < 0 || event.rank >= ranks) {
    throw ConfigError(
        fmt::format("--fail-at is '{}', but has to be SECONDS:RANK with a rank from 0 to {}", text, ranks - 1),
        "--fail-at 120:0 ends rank 0 after two minutes");
  }
  return event;
}

}  // namespace

Verb add_plan(CLI::App& program) {
  struct PlanArguments {
    std::string file;
    std::vector<std::string> overrides;
    int ranks = 1;
    bool resolved = false;
    bool simulate = false;
    SimulationOptions simulation = {.failures = {.per_hour = 1.0, .restart_seconds = 120.0}};
    std::vector<std::string> planned_failures;
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
  auto* simulate = app->add_flag("--simulate", arguments->simulate,
                                 "Instead, what failures would cost the ingredients' training on --ranks ranks: time, "
                                 "work lost and ranks idle, as one MPI job and as a job per shard");
  const auto of_simulation = [simulate](CLI::Option* option) { return option->needs(simulate); };
  of_simulation(app->add_option("--failures-per-hour", arguments->simulation.failures.per_hour,
                                "Of all ranks together, at random moments")
                    ->check(CLI::Range(0.0, 1e6))
                    ->capture_default_str());
  of_simulation(app->add_option("--fail-at", arguments->planned_failures,
                                "Also a failure of this rank after so many seconds (any number of times)")
                    ->type_name("SECONDS:RANK")
                    ->allow_extra_args(false));
  of_simulation(app->add_option("--restart-seconds", arguments->simulation.failures.restart_seconds,
                                "From a failure until what it ended trains again")
                    ->check(CLI::Range(0.0, 1e7))
                    ->capture_default_str());
  of_simulation(app->add_option("--images-per-second", arguments->simulation.images_per_second,
                                "What one rank trains; measured or assumed when left out")
                    ->check(CLI::PositiveNumber));
  of_simulation(app->add_option("--repeats", arguments->simulation.repeats, "Simulated runs of each kind")
                    ->check(CLI::Range(1, 100'000))
                    ->capture_default_str());
  of_simulation(app->add_option("--simulation-seed", arguments->simulation.failures.seed, "Of the random moments")
                    ->capture_default_str());
  app->footer(
      help_footer("  soup plan configs/quickstart.yaml --ranks 2\n"
                  "  soup plan configs/quickstart.yaml --set data.shards[0].weight=2 --resolved"));
  return {app, [arguments] {
            const Experiment experiment = load_experiment(arguments->file, arguments->overrides);
            if (arguments->resolved) {
              fmt::print("{}", to_yaml(experiment));
              return 0;
            }
            for (const std::string& text : arguments->planned_failures) {
              arguments->simulation.failures.planned.push_back(parse_failure(text, arguments->ranks));
            }
            const Plan plan = make_plan(experiment, arguments->ranks, probe_gpus());
            if (arguments->simulate) {
              fmt::print("{}", simulation_text(plan, experiment, arguments->simulation));
              return 0;
            }
            fmt::print("{}", describe(plan, experiment));
            return plan.problems.empty() ? 0 : static_cast<int>(plan.problems.front().exit_code());
          }};
}

}  // namespace soup
