// What the scripts of several schedulers have in common.
#include "experiments/job_scripts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"

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

std::string array_range(const JobPlan& plan, const Job& job) {
  const std::int64_t most = plan.cluster.most_running;
  return fmt::format("0-{}{}", job.shards.size() - 1, most > 0 ? fmt::format("%{}", most) : "");
}

NodeShare node_share(const ClusterConfig& cluster, int ranks) {
  const std::int64_t per_node = cluster.ranks_per_node > 0 ? std::min<std::int64_t>(cluster.ranks_per_node, ranks) : 1;
  return {(ranks + per_node - 1) / per_node, per_node};
}

std::string run_lines(const std::string& requeue) {
  std::string text = R"("${launch[@]}" "${command[@]}" &
child=$!
trap 'signalled=yes; echo "job $job: time is nearly up"; kill -USR1 "$child"' USR1
cancelled=no # by hand: who ends a job wants none queued again
trap 'signalled=yes; cancelled=yes; kill -TERM "$child"' TERM
signalled=yes # a signal ends the wait, not the child
while [[ $signalled == yes ]]; do
  signalled=no
  wait "$child"
  code=$?
done
if [[ $code -eq 75 && $cancelled == no ]]; then
  echo "job $job: stopped after a checkpoint; it is queued again"
  REQUEUE "$job" && sleep 60 # in which the scheduler ends this script
fi
exit "$code"
)";
  replace_all(text, "REQUEUE", requeue);
  return text;
}

}  // namespace soup
