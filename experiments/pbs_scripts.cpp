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
  const std::int64_t per_node = cluster.ranks_per_node > 0 ? std::min<std::int64_t>(cluster.ranks_per_node, ranks) : 1;
  std::string text = fmt::format("{}:ncpus={}:mpiprocs={}", (ranks + per_node - 1) / per_node,
                                 per_node * cluster.cores_per_rank, per_node);
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
    text += directive("-J", fmt::format("0-{}{}", job.shards.size() - 1,
                                        cluster.most_running > 0 ? fmt::format("%{}", cluster.most_running) : ""));
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
  text += R"(
echo "job $PBS_JOBID on $(sort -u "$PBS_NODEFILE" | tr '\n' ' '): ${launch[*]:-one process, no launcher}"
)";
  text += fmt::format(
      "# PBS sends no signal ahead of the time limit: this does, {} s before it.\n"
      "limit=$(echo {} | awk -F: '{{print ($1 * 60 + $2) * 60 + $3}}')\n"
      "\"${{launch[@]}}\" \"${{command[@]}}\" &\n"
      "child=$!\n"
      "(sleep $((limit > {} ? limit - {} : 1)) && echo \"job $PBS_JOBID: time is nearly up\" && kill -USR1 \"$child\") "
      "&\n"
      "clock=$!\n",
      cluster.signal_seconds, walltime(cluster.time), cluster.signal_seconds, cluster.signal_seconds);
  text += R"(trap 'signalled=yes' USR1
cancelled=no # by qdel, which wants no job queued again
trap 'signalled=yes; cancelled=yes; kill -TERM "$child"' TERM
signalled=yes # a signal ends the wait, not the child
while [[ $signalled == yes ]]; do
  signalled=no
  wait "$child"
  code=$?
done
kill "$clock" 2> /dev/null
if [[ $code -eq 75 && $cancelled == no ]]; then
  echo "job $PBS_JOBID: stopped after a checkpoint; it is queued again"
  qrerun "$PBS_JOBID" && sleep 60 # in which PBS ends this script
fi
exit "$code"
)";
  return text;
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
