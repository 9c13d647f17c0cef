// What the scripts of several schedulers have in common.
#pragma once

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

}  // namespace soup
