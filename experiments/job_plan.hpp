// An experiment as jobs of a cluster, as a value: what the writers of Slurm's, PBS's and Kubernetes' files share.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"

namespace soup {

struct Job {
  std::string name;                      // "base", "ingredients", "paragon", "soup", "evaluate"
  std::vector<std::string> arguments;    // of soup, the experiment's file last but for a shard's name
  std::vector<std::string> shards = {};  // one element of a job array each, which appends --shard NAME
  int ranks = 1;                         // of one element
  std::vector<std::string> after = {};   // names of jobs that have to be through
  bool after_success = true;             // and to have succeeded; else only to have ended
};

struct JobPlan {
  std::string name;                   // the experiment's
  std::filesystem::path work_folder;  // that soup is run from
  std::filesystem::path jobs_folder;  // <run folder>/jobs, absolute
  std::filesystem::path program;      // soup
  ClusterConfig cluster;
  std::vector<Job> jobs;  // each after those it waits for
};

// What is not done yet: data and base, then the ingredients (an array for each size of group), the soup, the paragons,
// evaluation and report. The jobs read <jobs folder>/experiment.yaml. No jobs: all is done.
JobPlan plan_jobs(const Experiment& experiment, const std::filesystem::path& work_folder,
                  const std::filesystem::path& program);

// A file for a scheduler.
struct JobFile {
  std::string name;  // in the jobs folder
  std::string text;
};
std::vector<JobFile> slurm_files(const JobPlan& plan);
std::vector<JobFile> pbs_files(const JobPlan& plan);
// One MPIJob (kubeflow.org/v2beta1) a file, and apply.sh, which gives them to kubectl in order.
std::vector<JobFile> kubernetes_files(const JobPlan& plan);
std::vector<JobFile> job_files(const JobPlan& plan);  // of plan.cluster.scheduler

// The file that starts a job.
std::string script_name(const JobPlan& plan, const Job& job);

// For a shell: 'it'\''s'.
std::string shell_quoted(std::string_view text);
std::string shell_words(const std::vector<std::string>& words);

}  // namespace soup
