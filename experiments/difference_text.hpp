// A difference of models as a table for a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "merge/difference.hpp"
#include "merge/outliers.hpp"

namespace soup {

struct DifferenceTextOptions {
  bool tensors = false;     // a row per tensor instead of per block
  std::size_t top = 40;     // rows of a part, those that moved most, and outliers of a kind; 0: all
  std::size_t width = 120;  // of a line; models that do not fit go into a second table
};

// What was compared; relative drift |w - base| / |base|, a row per block and a column per model, outliers marked "*";
// cosines between the models' deltas; the weight of each model that moved most; the outliers with their numbers.
std::string difference_text(const Difference& difference, const Outliers& outliers,
                            const DifferenceTextOptions& options = {});

// The rows of a part that the options ask for, in the part's order.
std::vector<DifferenceRow> top_rows(const PartDifference& part, const DifferenceTextOptions& options);
// The models' names, in their order.
std::vector<std::string> model_names(const Difference& difference);
// "0.0123", "1.2e-05", "0"; "inf" where the base is 0.
std::string drift_number(double drift);

}  // namespace soup
