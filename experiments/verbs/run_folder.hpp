// The experiment that a run folder holds.
#pragma once

#include <filesystem>

#include "experiments/experiment.hpp"

namespace soup {

// With this folder as its run_folder, wherever it was when the run began. Throws DataError when it is no run folder.
Experiment experiment_of_run(const std::filesystem::path& folder);

}  // namespace soup
