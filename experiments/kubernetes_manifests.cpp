// MPIJobs of Kubeflow's MPI Operator (kubeflow.org/v2beta1). Not tried on a live cluster.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "core/digest.hpp"
#include "core/text.hpp"
#include "experiments/job_plan.hpp"
#include "experiments/job_scripts.hpp"

namespace soup {

namespace {

// A name of Kubernetes: lower-case letters, digits and '-', 63 at most.
std::string object_name(const std::string& text) {
  constexpr std::size_t longest = 63;
  constexpr std::size_t kept = 54;  // of a longer one, before a digest that keeps it apart from others
  std::string name = text.size() <= longest ? text : text.substr(0, kept) + "-" + sha256(text).hex().substr(0, 8);
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return std::isalnum(c) != 0 ? std::tolower(c) : '-'; });
  while (!name.empty() && name.back() == '-') {
    name.pop_back();
  }
  return name;
}

// In YAML's double quotes.
std::string yaml_quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    quoted += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  }
  return quoted + "\"";
}

// Kubernetes' amounts: "64Gi" of "64G".
std::string quantity(const std::string& memory) {
  const bool has_unit = std::isdigit(static_cast<unsigned char>(memory.back())) == 0;
  return memory + (has_unit ? "i" : "Mi");
}

// The pod of a launcher or a worker, indented below "template:".
std::string pod(const JobPlan& plan, const std::string& container, const std::string& command,
                const std::string& resources) {
  const ClusterConfig& cluster = plan.cluster;
  std::string text = "        spec:\n          restartPolicy: Never\n          containers:\n";
  text += "            - name: " + container + "\n              image: " + yaml_quoted(cluster.image) + "\n";
  text += "              workingDir: " + yaml_quoted(plan.work_folder.string()) + "\n";
  text += command + resources;
  text += "              volumeMounts:\n                - {name: work, mountPath: " +
          yaml_quoted(plan.work_folder.string()) + "}\n";
  text += "          volumes:\n            - name: work\n              persistentVolumeClaim: {claimName: " +
          yaml_quoted(cluster.volume) + "}\n";
  return text;
}

std::string worker_resources(const ClusterConfig& cluster, std::int64_t ranks) {
  std::string limits = fmt::format("cpu: {}", ranks * cluster.cores_per_rank);
  if (!cluster.memory.empty()) {
    limits += ", memory: " + quantity(cluster.memory);
  }
  if (cluster.gpus_per_rank > 0) {
    limits += fmt::format(", nvidia.com/gpu: {}", ranks * cluster.gpus_per_rank);
  }
  return "              resources:\n                limits: {" + limits + "}\n";
}

// One MPIJob: `shard` is an index into job.shards.
std::string manifest(const JobPlan& plan, const Job& job, const std::string& name, std::size_t shard) {
  const ClusterConfig& cluster = plan.cluster;
  const auto [workers, per_node] = node_share(cluster, job.ranks);
  std::vector<std::string> words = {"mpirun", "--allow-run-as-root", "-n", std::to_string(job.ranks),
                                    plan.program.string()};
  words.insert(words.end(), job.arguments.begin(), job.arguments.end());
  if (!job.shards.empty()) {
    words.insert(words.end(), {"--shard", job.shards[shard]});
  }
  // 75: stopped after a checkpoint; the same command goes on.
  const std::string script = set_up_lines(cluster) + "while true; do " + shell_words(words) +
                             "; code=$?; [ $code -eq 75 ] || exit $code; done";
  std::string text = fmt::format(
      "# Job \"{}\" of the experiment {}, written by `soup submit`. Untested on a live cluster.\n"
      "apiVersion: kubeflow.org/v2beta1\n"
      "kind: MPIJob\n"
      "metadata:\n"
      "  name: {}\n"
      "  labels: {{app: soup, experiment: {}}}\n"
      "spec:\n"
      "  slotsPerWorker: {}\n"
      "  runPolicy:\n"
      "    cleanPodPolicy: Running\n"
      "    backoffLimit: 3\n"
      "  mpiReplicaSpecs:\n",
      job.name, plan.name, name, object_name(plan.name), per_node);
  text += "    Launcher:\n      replicas: 1\n      template:\n";
  std::string indented = script;
  replace_all(indented, "\n", "\n                  ");
  text += pod(
      plan, "launcher",
      "              command: [\"/bin/bash\", \"-c\"]\n              args:\n                - |\n                  " +
          indented + "\n",
      "");
  text += fmt::format("    Worker:\n      replicas: {}\n      template:\n", workers);
  text += pod(plan, "worker", "", worker_resources(cluster, per_node));
  return text;
}

}  // namespace

std::vector<JobFile> kubernetes_files(const JobPlan& plan) {
  std::vector<JobFile> files;
  std::string apply = fmt::format(
      "#!/usr/bin/env bash\n"
      "# Gives the jobs of the experiment {} to Kubernetes, each when those it waits for are through. Untested on a "
      "live\n"
      "# cluster. usage: bash apply.sh [TIMEOUT of one job, as kubectl takes it: 72h]\n"
      "set -euo pipefail\n"
      "cd \"$(dirname \"${{BASH_SOURCE[0]}}\")\"\n"
      "timeout=${{1:-72h}}\n",
      plan.name);
  std::vector<std::pair<std::string, std::vector<std::string>>> objects;  // of each job, by name
  for (const Job& job : plan.jobs) {
    for (const std::string& before : job.after) {
      const auto found = std::ranges::find(objects, before, &std::pair<std::string, std::vector<std::string>>::first);
      for (const std::string& object : found->second) {
        apply += fmt::format("kubectl wait --for=condition=Succeeded --timeout=\"$timeout\" mpijob/{}{}\n", object,
                             job.after_success ? "" : " || echo \"" + object + " did not succeed; going on without\"");
      }
    }
    objects.emplace_back(job.name, std::vector<std::string>());
    const std::size_t count = std::max<std::size_t>(job.shards.size(), 1);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string what = job.shards.empty() ? job.name : "ingredient-" + job.shards[i];
      const std::string object = object_name(plan.name + "-" + what);
      files.push_back({what + ".yaml", manifest(plan, job, object, i)});
      objects.back().second.push_back(object);
      apply += "kubectl apply -f " + shell_quoted(what + ".yaml") + "\n";
    }
  }
  files.push_back({"apply.sh", apply});
  return files;
}

}  // namespace soup
