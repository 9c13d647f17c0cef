// soup status: how far a run is.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "experiments/experiment.hpp"
#include "experiments/run_status.hpp"
#include "experiments/verbs/run_folder.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

Verb add_status(CLI::App& program) {
  struct StatusArguments {
    std::string run_folder;
    bool json = false;
  };
  auto arguments = std::make_shared<StatusArguments>();
  CLI::App* app =
      program.add_subcommand("status", "Show how far a run is: each stage done, running, failed or waiting");
  app->description(
      "Reads what the run folder holds and, where jobs were submitted, Slurm's queue: which stages are done, which "
      "run\n"
      "where and how fast, which failed and why, which wait for what. Changes nothing, and needs no scheduler.");
  app->add_option("run", arguments->run_folder, "Run folder, as runs/quickstart")->required();
  app->add_flag("--json", arguments->json, "As JSON, for programs");
  app->footer(help_footer("  soup status runs/quickstart\n  watch -n 10 soup status runs/quickstart"));
  return {app, [arguments] {
            const RunStatus status = status_of(experiment_of_run(arguments->run_folder));
            fmt::print("{}", arguments->json ? to_json(status).dump(1) + "\n" : describe(status));
            return 0;
          }};
}

}  // namespace soup
