// A whole experiment, stage by stage, on however many ranks there are.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/log.hpp"
#include "experiments/experiment.hpp"
#include "launch/communicator.hpp"

namespace soup {

// Which part of an experiment is wanted; everything it needs comes with it.
enum class RunGoal { all, scorer, base, ingredients, soups, paragons, evaluation };

struct RunRequest {
  RunGoal goal = RunGoal::all;
  std::optional<std::string> shard;              // with RunGoal::ingredients: only this one's
  int local_rank = 0;                            // number of this process on its host
  int local_ranks = 1;                           // processes of this run on this host
  std::map<std::string, std::string> libraries;  // versions for environment.json
};

// Checks everything that can be checked first, then runs the stages in order, skipping those that are done with the key
// they have now. A run folder of another experiment is refused. Collective over `world`; throws on every rank when any
// rank failed.
void run_experiment(const Experiment& experiment, const RunRequest& request, std::unique_ptr<Communicator> world,
                    Log& log);

}  // namespace soup
