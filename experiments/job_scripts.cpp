// What the scripts of several schedulers have in common.
#include "experiments/job_scripts.hpp"

namespace soup {

std::string set_up_lines(const ClusterConfig& cluster) {
  std::string text;
  for (const std::string& module : cluster.modules) {
    text += "module load " + shell_quoted(module) + "\n";
  }
  for (const std::string& line : cluster.prolog) {
    text += line + "\n";
  }
  return text;
}

std::string command_words(const JobPlan& plan, const Job& job, const std::string& index) {
  std::vector<std::string> words = {plan.program.string()};
  words.insert(words.end(), job.arguments.begin(), job.arguments.end());
  return shell_words(words) + (job.shards.empty() ? "" : " --shard \"${shards[" + index + "]}\"");
}

std::string shard_list(const Job& job) {
  return job.shards.empty() ? "" : "shards=(" + shell_words(job.shards) + ")\n";
}

}  // namespace soup
