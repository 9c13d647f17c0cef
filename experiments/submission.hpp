// A run's jobs with the scheduler: their files, their submission, and the record of it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/job_plan.hpp"

namespace soup {

struct SubmittedJob {
  std::string name;                 // Job::name
  std::string id;                   // as the scheduler's commands take it
  std::vector<std::string> shards;  // of an array, by element
};

struct Submission {
  std::string time;  // ISO 8601, UTC
  std::string scheduler;
  std::vector<SubmittedJob> jobs;
};

// <run folder>/jobs/submitted.json; no jobs where there is none. Throws DataError when it is unreadable.
Submission read_submission(const std::filesystem::path& run_folder);

// Throws DataError, naming them, where jobs of an earlier submission still wait or run: they would find other files.
void require_none_queued(const JobPlan& plan);

// Writes experiment.yaml and the jobs' files into the jobs folder; returns their paths in order.
std::vector<std::filesystem::path> write_job_files(const JobPlan& plan, const Experiment& experiment);

// The command that submits a job, for people: with the names of the jobs it waits for, where their ids are not known.
std::string submit_command(const JobPlan& plan, const Job& job);

// Submits the jobs whose files are written, and records their ids. Throws DataError where the scheduler refuses one:
// those before it are cancelled then.
Submission submit(const JobPlan& plan);

}  // namespace soup
