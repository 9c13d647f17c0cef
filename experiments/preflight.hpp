// What can be found wrong with an experiment before its first image is trained: sources, base, folders.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "experiments/experiment.hpp"

namespace soup {

// All problems, in the order in which a run would meet them; empty when the run can start. Writes nothing.
std::vector<Error> preflight(const Experiment& experiment);

// Throws the first problem; the others are listed in its hint. What `soup run` asks before its first stage.
void require_ready(const Experiment& experiment);

}  // namespace soup
