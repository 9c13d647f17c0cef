// Recomputes what digests promise: of a shard file, a model, a soup, or all of a run. Reads only.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace soup {

struct Finding {
  std::filesystem::path what;
  bool good = false;
  std::string detail;  // what was recomputed, or how it disagrees
};

// `path`: a shard file (.h5), a model folder (with or without ingredient.json), a soup
// folder (ledger.json) or a run folder (experiment.yaml). A soup is made again from its ingredients, in a temporary
// folder, and must come out with the same weights. What disagrees is a finding; throws DataError when `path` is none of
// these.
std::vector<Finding> verify(const std::filesystem::path& path);

}  // namespace soup
