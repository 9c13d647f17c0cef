// soup report: the HTML page of a run, made again from what the run holds.
#include "experiments/report.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "experiments/experiment.hpp"
#include "experiments/verbs/run_folder.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

Verb add_report(CLI::App& program) {
  auto run_folder = std::make_shared<std::string>();
  CLI::App* app = program.add_subcommand("report", "Write a run's report again from what the run holds");
  app->description(
      "Writes report/index.html of a run folder again: one file with pictures, loss curves and scores, readable "
      "without a\n"
      "network. Trains and evaluates nothing: what a run has not come to yet is left out of the report.");
  app->add_option("run", *run_folder, "Run folder, as runs/quickstart")->required();
  app->footer(help_footer("  soup report runs/quickstart"));
  return {app, [run_folder] {
            const std::filesystem::path folder = *run_folder;
            const Experiment experiment = experiment_of_run(folder);
            const std::filesystem::path page = folder / "report" / "index.html";
            write_report(experiment, page);
            fmt::print("{}\n", page.native());
            return 0;
          }};
}

}  // namespace soup
