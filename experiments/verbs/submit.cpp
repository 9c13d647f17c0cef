// soup submit: an experiment as jobs of a cluster.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "core/error.hpp"
#include "experiments/preflight.hpp"
#include "experiments/submission.hpp"
#include "experiments/verbs/verbs.hpp"

namespace soup {

namespace {

std::string summary(const Job& job) {
  const std::string ranks = fmt::format("{} {}", job.ranks, job.ranks == 1 ? "rank" : "ranks");
  return job.shards.empty() ? ranks : fmt::format("{} shards, each on {}", job.shards.size(), ranks);
}

}  // namespace

Verb add_submit(CLI::App& program) {
  struct SubmitArguments {
    std::string file;
    std::vector<std::string> overrides;
    bool dry_run = false;
  };
  auto arguments = std::make_shared<SubmitArguments>();
  CLI::App* app = program.add_subcommand("submit", "Give an experiment to a cluster's scheduler as jobs");
  app->description(
      "Writes a script for each job into RUN/jobs and submits them: data and base, then an array of one element per\n"
      "shard, then soup, paragons, evaluation and report, by dependency. What is done already gets no job. A job that\n"
      "comes near its time limit writes a checkpoint and is queued again. The section `cluster` of the YAML says "
      "which\n"
      "partition, time, memory, GPUs, modules. `soup status RUN` shows how far all is.");
  app->add_option("experiment", arguments->file, "The experiment's YAML file")->required();
  app->add_option("--set", arguments->overrides, "Replace a value: --set cluster.partition=gpu (any number of times)")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app->add_flag("--dry-run", arguments->dry_run, "Write the scripts and show the commands, but submit nothing");
  app->footer(
      help_footer("  soup submit configs/quickstart.yaml --dry-run\n"
                  "  soup submit configs/quickstart.yaml --set cluster.scheduler=pbs --dry-run"));
  return {app, [arguments] {
            const Experiment experiment = load_experiment(arguments->file, arguments->overrides);
            require_ready(experiment);
            if (experiment.cluster.scheduler == "kubernetes" &&
                (experiment.cluster.image.empty() || experiment.cluster.volume.empty())) {
              throw ConfigError(
                  "Kubernetes needs cluster.image and cluster.volume",
                  "a container image with soup and Open MPI, and the claim of the volume that holds this folder");
            }
            const JobPlan plan =
                plan_jobs(experiment, std::filesystem::current_path(), std::filesystem::read_symlink("/proc/self/exe"));
            if (plan.jobs.empty()) {
              fmt::print("{}: all is done, there is nothing to submit\n", experiment.run_folder.native());
              return 0;
            }
            const bool submits = !arguments->dry_run && plan.cluster.scheduler != "kubernetes";
            require_none_queued(plan);
            write_job_files(plan, experiment);
            if (submits) {
              const Submission submission = submit(plan);
              for (std::size_t i = 0; i < plan.jobs.size(); ++i) {
                fmt::print("{:<14}  job {:<8}  {}\n", plan.jobs[i].name, submission.jobs[i].id, summary(plan.jobs[i]));
              }
              fmt::print("soup status {} shows how far they are\n", experiment.run_folder.native());
              return 0;
            }
            for (const Job& job : plan.jobs) {
              fmt::print("{:<14}  {}\n", job.name, summary(job));
              if (plan.cluster.scheduler != "kubernetes") {
                fmt::print("  {}\n", submit_command(plan, job));
              }
            }
            if (plan.cluster.scheduler == "kubernetes") {
              fmt::print("bash {} gives them to kubectl in order\n", (plan.jobs_folder / "apply.sh").native());
            } else {
              fmt::print("nothing was submitted\n");
            }
            return 0;
          }};
}

}  // namespace soup
