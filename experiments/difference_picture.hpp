// A difference of models as a picture: drift per block and model, cosines between models.
#pragma once

#include <filesystem>

#include "experiments/difference_text.hpp"
#include "merge/difference.hpp"
#include "merge/outliers.hpp"

namespace soup {

// Writes a PNG file, atomically, drawn by gnuplot: a heat map with the rows of the table, outliers marked "*", and
// beside it, for two models or more, the matrix of cosines. Throws DataError: gnuplot is missing or fails, a file that
// cannot be written.
void write_difference_picture(const std::filesystem::path& path, const Difference& difference, const Outliers& outliers,
                              const DifferenceTextOptions& options = {});

}  // namespace soup
