// A difference of models as JSON, schema 1 (merge/README.md, "soup diff").
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "merge/difference.hpp"
#include "merge/outliers.hpp"

namespace soup {

// `tensors`: with an entry for each tensor, which for many models is large. Numbers that are infinite or undefined (the
// drift of a block whose base is 0, the cosine of a model that did not move) are null.
nlohmann::ordered_json difference_json(const Difference& difference, const Outliers& outliers, bool tensors);

}  // namespace soup
