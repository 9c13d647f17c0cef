// What failures cost a run of many groups: discrete events, as a pure function of numbers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "launch/schedule.hpp"

namespace soup {

struct SimulatedWork {
  Work work;
  // Work between two checkpoints, in seconds of one rank; a failure takes what was done since the last one.
  double checkpoint_rank_seconds = 0.0;
};

// What goes wrong, and what follows.
struct Failures {
  // Of all ranks together, at random moments (a Poisson process), each of a random rank.
  double per_hour = 0.0;
  // And at these: seconds since the start, and the rank.
  struct Event {
    double seconds = 0.0;
    int rank = 0;
  };
  std::vector<Event> planned = {};
  // From a failure until what it ended trains again, on a machine in its place.
  double restart_seconds = 0.0;
  std::uint64_t seed = 0;
};

// What a failure ends.
enum class JobShape {
  world,      // one MPI job: it ends all groups, which start again from their checkpoints
  per_shard,  // a job per shard: it ends its own group's training
};

struct SimulatedRun {
  double makespan = 0.0;           // seconds until the last shard is trained
  double lost_rank_seconds = 0.0;  // trained, and trained again
  double idle_share = 0.0;         // of the ranks' time until then: not training, restarts included
  std::uint64_t failures = 0;
};

// Groups take work by order_for_group when they become free. Throws ConfigError where failures leave no time to get on,
// InvariantError where there are no groups.
SimulatedRun simulate(std::span<const int> group_sizes, std::span<const SimulatedWork> work, const Failures& failures,
                      JobShape shape);

// A mean over repeated runs and its standard error; of one run the error is 0.
struct SimulatedMean {
  double mean = 0.0;
  double error = 0.0;
};

struct SimulatedRuns {
  SimulatedMean makespan;
  SimulatedMean lost_rank_seconds;
  SimulatedMean idle_share;
  SimulatedMean failures;
};

// `repeats` runs, of seeds failures.seed, failures.seed + 1, ...
SimulatedRuns simulate_often(std::span<const int> group_sizes, std::span<const SimulatedWork> work, Failures failures,
                             JobShape shape, int repeats);

}  // namespace soup
