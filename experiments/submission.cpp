// A run's jobs with the scheduler.
#include "experiments/submission.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/child_process.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "experiments/slurm_queue.hpp"
#include "merge/ledger.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

fs::path record_file(const fs::path& jobs_folder) {
  return jobs_folder / "submitted.json";
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
    text.pop_back();
  }
  return text;
}

// Waits for jobs of these ids.
std::vector<std::string> command_of(const JobPlan& plan, const Job& job, const std::vector<std::string>& ids) {
  const bool slurm = plan.cluster.scheduler == "slurm";
  std::vector<std::string> words =
      slurm ? std::vector<std::string>{"sbatch", "--parsable"} : std::vector<std::string>{"qsub"};
  if (!ids.empty()) {
    const std::string dependency =
        fmt::format("{}:{}", job.after_success ? "afterok" : "afterany", fmt::join(ids, ":"));
    if (slurm) {
      words.push_back("--dependency=" + dependency);
    } else {
      words.insert(words.end(), {"-W", "depend=" + dependency});
    }
  }
  words.push_back((plan.jobs_folder / script_name(plan, job)).string());
  return words;
}

// Returns those that could not be cancelled.
std::vector<SubmittedJob> cancel(const JobPlan& plan, const std::vector<SubmittedJob>& jobs) {
  std::vector<SubmittedJob> left;
  for (const SubmittedJob& job : jobs) {
    const ChildOutcome outcome =
        run_child({.arguments = {plan.cluster.scheduler == "slurm" ? "scancel" : "qdel", job.id},
                   .environment = current_environment()});
    if (outcome.code != 0) {
      left.push_back(job);
    }
  }
  return left;
}

void write_submission(const fs::path& jobs_folder, const Submission& submission) {
  nlohmann::ordered_json json = {
      {"time", submission.time}, {"scheduler", submission.scheduler}, {"jobs", nlohmann::json::array()}};
  for (const SubmittedJob& job : submission.jobs) {
    json["jobs"].push_back({{"name", job.name}, {"id", job.id}, {"shards", job.shards}});
  }
  write_file_atomically(record_file(jobs_folder), json.dump(1) + "\n");
}

}  // namespace

Submission read_submission(const fs::path& run_folder) {
  const fs::path file = record_file(run_folder / "jobs");
  std::error_code error;
  if (!fs::exists(file, error)) {
    return {};
  }
  try {
    const nlohmann::json json = nlohmann::json::parse(read_file(file));
    Submission submission{.time = json.at("time"), .scheduler = json.at("scheduler"), .jobs = {}};
    for (const nlohmann::json& job : json.at("jobs")) {
      submission.jobs.push_back({job.at("name"), job.at("id"), job.at("shards")});
    }
    return submission;
  } catch (const nlohmann::json::exception& broken) {
    throw DataError(file, fmt::format("is no record of submitted jobs: {}", broken.what()),
                    "remove it, once none of the run's jobs is queued");
  }
}

void require_none_queued(const JobPlan& plan) {
  const Submission before = read_submission(plan.jobs_folder.parent_path());
  if (before.scheduler == "slurm") {
    std::vector<std::string> ids;
    for (const SubmittedJob& job : before.jobs) {
      ids.push_back(job.id);
    }
    if (const std::vector<QueuedJob> queued = queued_jobs(ids); !queued.empty()) {
      std::vector<std::string> words;
      for (const QueuedJob& job : queued) {
        words.push_back(fmt::format("{} ({})", job.id, job.state));
      }
      throw DataError(record_file(plan.jobs_folder),
                      fmt::format("jobs of this run are still queued: {}", fmt::join(words, ", ")),
                      fmt::format("wait for them, or end them: scancel {}", fmt::join(ids, " ")));
    }
  }
}

std::vector<fs::path> write_job_files(const JobPlan& plan, const Experiment& experiment) {
  fs::create_directories(plan.jobs_folder);
  write_file_atomically(plan.jobs_folder / "experiment.yaml", to_yaml(experiment));
  std::vector<fs::path> paths;
  for (const JobFile& file : job_files(plan)) {
    paths.push_back(plan.jobs_folder / file.name);
    write_file_atomically(paths.back(), file.text);
  }
  return paths;
}

std::string submit_command(const JobPlan& plan, const Job& job) {
  std::vector<std::string> names;
  for (const std::string& name : job.after) {
    names.push_back("<" + name + ">");
  }
  return fmt::format("{}", fmt::join(command_of(plan, job, names), " "));
}

Submission submit(const JobPlan& plan) {
  SOUP_REQUIRE(plan.cluster.scheduler != "kubernetes", "Kubernetes gets its jobs by apply.sh");
  Submission submission{.time = utc_now(), .scheduler = plan.cluster.scheduler, .jobs = {}};
  for (const Job& job : plan.jobs) {
    std::vector<std::string> ids;
    for (const SubmittedJob& other : submission.jobs) {
      if (std::ranges::find(job.after, other.name) != job.after.end()) {
        ids.push_back(other.id);
      }
    }
    const std::vector<std::string> command = command_of(plan, job, ids);
    ChildOutcome outcome;
    try {
      outcome = run_child({.arguments = command,
                           .environment = current_environment(),
                           .hint = "is this a host of the cluster, with the scheduler's commands on its PATH? "
                                   "soup submit --dry-run writes the scripts alone"});
    } catch (const Error&) {
      cancel(plan, submission.jobs);
      throw;
    }
    // sbatch --parsable: "17" or "17;cluster".
    const std::string id = split(trimmed(outcome.output), ';').front();
    if (outcome.code != 0 || id.empty()) {
      submission.jobs = cancel(plan, submission.jobs);
      write_submission(plan.jobs_folder, submission);
      std::vector<std::string> left;
      for (const SubmittedJob& other : submission.jobs) {
        left.push_back(other.id);
      }
      throw DataError(command.back(),
                      fmt::format("{} refused job {} (code {}): {}", command.front(), job.name, outcome.code,
                                  trimmed(outcome.errors)),
                      left.empty()
                          ? "those submitted before it were cancelled; look at the section cluster of the experiment"
                          : fmt::format("jobs {} could not be cancelled: end them by hand", fmt::join(left, ", ")));
    }
    submission.jobs.push_back({job.name, id, job.shards});
    write_submission(plan.jobs_folder, submission);  // so that no id is lost, whatever comes
  }
  return submission;
}

}  // namespace soup
