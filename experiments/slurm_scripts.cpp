// sbatch scripts.
#include <fmt/format.h>

#include "experiments/job_plan.hpp"
#include "experiments/job_scripts.hpp"

namespace soup {

namespace {

std::string directive(std::string_view option, const std::string& value) {
  const bool plain = value.find_first_of(" \t'#\\") == std::string::npos;
  return value.empty() ? "" : fmt::format("#SBATCH --{}={}\n", option, plain ? value : '"' + value + '"');
}

// How ranks are started, decided where the job runs: what the cluster offers is known there.
std::string launcher_lines(const ClusterConfig& cluster, int ranks) {
  if (ranks == 1) {
    return "launch=()\n";
  }
  const std::string srun = "launch=(srun --mpi=pmix --kill-on-bad-exit=1)";
  const std::string mpirun = fmt::format("launch=(mpirun --bind-to none -n {})", ranks);
  if (cluster.launcher == "srun") {
    return srun + "\n";
  }
  if (cluster.launcher == "mpirun") {
    return mpirun + "\n";
  }
  return "if srun --mpi=list 2>&1 | grep -qw pmix; then\n  " + srun + "\nelse\n  " + mpirun + "\nfi\n";
}

std::string resources(const ClusterConfig& cluster, int ranks) {
  std::string text = directive("ntasks", std::to_string(ranks));
  if (cluster.ranks_per_node > 0) {
    const NodeShare share = node_share(cluster, ranks);
    text += directive("nodes", std::to_string(share.nodes));
    text += directive("ntasks-per-node", std::to_string(share.ranks_per_node));
  }
  text += directive("cpus-per-task", std::to_string(cluster.cores_per_rank));
  if (cluster.gpus_per_rank > 0) {
    text += directive("gpus-per-task", std::to_string(cluster.gpus_per_rank));
  }
  return text + directive("mem", cluster.memory);
}

std::string script_of(const JobPlan& plan, const Job& job) {
  const ClusterConfig& cluster = plan.cluster;
  const bool is_array = !job.shards.empty();
  std::string text = fmt::format(
      "#!/usr/bin/env bash\n"
      "# Job \"{}\" of the experiment {}, written by `soup submit`, which replaces it when it is given again.\n",
      job.name, plan.name);
  text += directive("job-name", plan.name + "." + job.name);
  text += directive("chdir", plan.work_folder.string());
  text += directive("output", (plan.jobs_folder / (job.name + (is_array ? ".%A_%a.out" : ".%j.out"))).string());
  text += "#SBATCH --open-mode=append\n#SBATCH --requeue\n#SBATCH --kill-on-invalid-dep=yes\n";
  text += directive("signal", fmt::format("B:USR1@{}", cluster.signal_seconds));
  text += directive("time", cluster.time) + directive("partition", cluster.partition) +
          directive("account", cluster.account) + directive("qos", cluster.qos);
  text += resources(cluster, job.ranks);
  if (is_array) {
    text += directive("array", array_range(plan, job));
  }
  for (const std::string& option : cluster.options) {
    text += "#SBATCH " + option + "\n";
  }
  text += "set -uo pipefail\n\n" + set_up_lines(cluster) + shard_list(job) + launcher_lines(cluster, job.ranks);
  text += "command=(" + command_words(plan, job, "SLURM_ARRAY_TASK_ID") + ")\n";
  text += R"(
job=$SLURM_JOB_ID
[[ -z ${SLURM_ARRAY_JOB_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
echo "job $job on $SLURM_JOB_NODELIST, start ${SLURM_RESTART_COUNT:-0}: ${launch[*]:-one process, no launcher}"
)";
  return text + "\n# Ahead of its time limit the job gets SIGUSR1, this shell alone.\n" + run_lines("scontrol requeue");
}

}  // namespace

std::vector<JobFile> slurm_files(const JobPlan& plan) {
  std::vector<JobFile> files;
  for (const Job& job : plan.jobs) {
    files.push_back({script_name(plan, job), script_of(plan, job)});
  }
  return files;
}

}  // namespace soup
