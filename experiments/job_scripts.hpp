// What the scripts of several schedulers have in common.
#pragma once

#include <cstdint>
#include <string>

#include "experiments/job_plan.hpp"

namespace soup {

// `modules` and `prolog` as lines of shell.
std::string set_up_lines(const ClusterConfig& cluster);

// soup and its arguments as words of shell; of an array with "--shard" and the element's shard, from the shell's
// variable `index` that counts from 0.
std::string command_words(const JobPlan& plan, const Job& job, const std::string& index);
// "shards=(a b c)\n", or nothing where the job is no array.
std::string shard_list(const Job& job);

// "0-5%3" of six shards, of which three may be trained at a time.
std::string array_range(const JobPlan& plan, const Job& job);

// The nodes that so many ranks take: cluster.ranks_per_node on each, or one where that is the scheduler's to decide.
struct NodeShare {
  std::int64_t nodes = 1;
  std::int64_t ranks_per_node = 1;
};
NodeShare node_share(const ClusterConfig& cluster, int ranks);

// The end of a script that set the shell's variables `launch`, `command` and `job`: starts soup and waits for it.
// SIGUSR1 is handed on: soup then writes a checkpoint and ends with 75, and `requeue` is called with the job's name.
// SIGTERM too, after which nothing is queued again.
std::string run_lines(const std::string& requeue);

}  // namespace soup
