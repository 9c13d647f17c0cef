// What failures would cost an experiment's ingredients on so many ranks: the plan, played many times.
#pragma once

#include <string>

#include "experiments/experiment.hpp"
#include "experiments/plan.hpp"
#include "launch/simulation.hpp"

namespace soup {

struct SimulationOptions {
  Failures failures;
  int repeats = 20;
  double images_per_second = 0.0;  // of one rank; 0: as the plan has it, measured or assumed
};

// All ingredients, done or not, as work, with their checkpoints.
std::vector<SimulatedWork> simulated_work(const Plan& plan, const Experiment& experiment,
                                          const SimulationOptions& options);

// A table for people: without failures, as one MPI job, and as a job per shard. Throws ConfigError: the ranks form no
// groups, nothing to train, unknown times.
std::string simulation_text(const Plan& plan, const Experiment& experiment, const SimulationOptions& options);

}  // namespace soup
