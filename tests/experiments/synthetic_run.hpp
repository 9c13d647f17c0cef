// A finished run folder made of invented numbers and pictures, for tests of what only reads one.
#pragma once

#include <filesystem>

#include "experiments/experiment.hpp"

namespace soup::test {

// Three shards, raw and EMA records of every model, comparisons, drift, loss curves, ledger. The soup is better than
// the paragon on alignment, worse on held-out loss, equal on the rest.
Experiment write_synthetic_run(const std::filesystem::path& run_folder);

}  // namespace soup::test
