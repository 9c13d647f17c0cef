// The verbs of soup-torch.
#pragma once

#include "experiments/verbs/verbs.hpp"
#include "launch/mpi_runtime.hpp"

namespace soup {

Verb add_run(CLI::App& program, MpiRuntime& mpi);
Verb add_train(CLI::App& program, MpiRuntime& mpi);
Verb add_sample(CLI::App& program);
Verb add_score(CLI::App& program);
Verb add_evaluate(CLI::App& program, MpiRuntime& mpi);

}  // namespace soup
