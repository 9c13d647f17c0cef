// The verbs of soup-torch.
#pragma once

#include "experiments/verbs/verbs.hpp"
#include "launch/mpi_runtime.hpp"
#include "trainer/model.hpp"

namespace soup {

Verb add_run(CLI::App& program, MpiRuntime& mpi);
Verb add_train(CLI::App& program, MpiRuntime& mpi);
Verb add_sample(CLI::App& program);
Verb add_score(CLI::App& program);
Verb add_convert(CLI::App& program);
Verb add_encode(CLI::App& program);
Verb add_evaluate(CLI::App& program, MpiRuntime& mpi);

// What load_model left out, for the user.
void print_remarks(const DiffusionModel& model);

}  // namespace soup
