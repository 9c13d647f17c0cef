// qsub scripts for PBS Professional and OpenPBS. Not tried on a live cluster.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "experiments/job_plan.hpp"
#include "experiments/job_scripts.hpp"

namespace soup {

namespace {

std::string directive(std::string_view option, const std::string& value) {
  return value.empty() ? "" : fmt::format("#PBS {} {}\n", option, value);
}

// "2:ncpus=8:ngpus=4:mpiprocs=4:mem=64gb": chunks of one node each.
std::string chunks(const ClusterConfig& cluster, int ranks) {
  const auto [nodes, per_node] = node_share(cluster, ranks);
  std::string text = fmt::format("{}:ncpus={}:mpiprocs={}", nodes, per_node * cluster.cores_per_rank, per_node);
  if (cluster.gpus_per_rank > 0) {
    text += fmt::format(":ngpus={}", per_node * cluster.gpus_per_rank);
  }
  if (!cluster.memory.empty()) {
    std::string memory = cluster.memory;
    std::ranges::transform(memory, memory.begin(), [](unsigned char c) { return std::tolower(c); });
    text += ":mem=" + memory + (std::isdigit(static_cast<unsigned char>(memory.back())) != 0 ? "mb" : "b");
  }
  return text;
}

// PBS knows no days, and takes minutes for seconds.
std::string walltime(const std::string& time) {
  const std::size_t dash = time.find('-');
  std::string rest = dash == std::string::npos ? time : time.substr(dash + 1);
  const std::int64_t days = dash == std::string::npos ? 0 : std::stoll(time.substr(0, dash));
  const auto colons = std::ranges::count(rest, ':');
  if (colons == 0) {
    rest = dash == std::string::npos ? fmt::format("{:02}:{:02}:00", std::stoll(rest) / 60, std::stoll(rest) % 60)
                                     : rest + ":00:00";
  } else if (colons == 1) {
    rest = dash == std::string::npos ? "00:" + rest : rest + ":00";
  }
  const std::size_t colon = rest.find(':');
  return fmt::format("{:02}{}", days * 24 + std::stoll(rest.substr(0, colon)), rest.substr(colon));
}

std::string script_of(const JobPlan& plan, const Job& job) {
  const ClusterConfig& cluster = plan.cluster;
  std::string text = fmt::format(
      "#!/usr/bin/env bash\n"
      "# Job \"{}\" of the experiment {}, written by `soup submit`. Untested on a live PBS.\n",
      job.name, plan.name);
  text += directive("-N", plan.name + "." + job.name) + "#PBS -j oe\n#PBS -r y\n";
  text += directive("-q", cluster.partition) + directive("-A", cluster.account);
  text += directive("-l", "select=" + chunks(cluster, job.ranks));
  text += directive("-l", "walltime=" + walltime(cluster.time));
  // A job array of PBS has two elements at least.
  const bool is_array = job.shards.size() > 1;
  if (is_array) {
    text += directive("-J", array_range(plan, job));
  }
  for (const std::string& option : cluster.options) {
    text += "#PBS " + option + "\n";
  }
  text += "set -uo pipefail\ncd " + shell_quoted(plan.work_folder.string()) + " || exit 3\n";
  text += "log=" + shell_quoted((plan.jobs_folder / job.name).string()) +
          ".${PBS_JOBID%%.*}.out\nexec >> \"$log\" 2>&1\n\n";
  text += set_up_lines(cluster) + shard_list(job);
  text += "command=(" + command_words(plan, job, is_array ? "PBS_ARRAY_INDEX" : "0") + ")\n";
  text += job.ranks == 1 ? "launch=()\n" : fmt::format("launch=(mpirun --bind-to none -n {})\n", job.ranks);
  text += fmt::format(
      "\njob=$PBS_JOBID\n"
      "echo \"job $job on $(sort -u \"$PBS_NODEFILE\" | tr '\\n' ' '): ${{launch[*]:-one process, no launcher}}\"\n\n"
      "# PBS sends no signal ahead of the time limit: this does, {0} s before it.\n"
      "limit=$(echo {1} | awk -F: '{{print ($1 * 60 + $2) * 60 + $3}}')\n"
      "(sleep $((limit > {0} ? limit - {0} : 1)) && kill -USR1 $$) &\n"
      "clock=$!\n"
      "trap 'kill \"$clock\" 2> /dev/null' EXIT\n",
      cluster.signal_seconds, walltime(cluster.time));
  return text + run_lines("qrerun");
}

}  // namespace

std::vector<JobFile> pbs_files(const JobPlan& plan) {
  std::vector<JobFile> files;
  for (const Job& job : plan.jobs) {
    files.push_back({script_name(plan, job), script_of(plan, job)});
  }
  return files;
}

}  // namespace soup
