// The report of a run: one self-contained HTML file, readable without network and without JavaScript.
#pragma once

#include <filesystem>

#include "experiments/experiment.hpp"

namespace soup {

// Reads the run folder and writes `path` atomically. Parts of the run that are missing are left out, so a report can be
// made at any time. Throws DataError: broken files, no gnuplot.
void write_report(const Experiment& experiment, const std::filesystem::path& path);

}  // namespace soup
