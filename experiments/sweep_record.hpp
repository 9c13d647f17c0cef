// sweep.json: which soups a sweep's folder holds (schema 1, see merge/README.md), read strictly.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "experiments/simplex_grid.hpp"

namespace soup {

struct SweepInput {
  std::string name;
  std::string path;  // relative to the sweep's folder
};

struct SweepPoint {
  GridWeights weights;  // in the order of the inputs, out of the sweep's steps
  std::string folder;   // point_name(weights): a soup, directly in the sweep's folder
  Digest soup_digest;
};

struct Sweep {
  std::string program;  // name and version of what wrote it
  std::string method;   // "mean", or a method that is no mean
  int steps = 0;
  std::vector<SweepInput> inputs;  // two or more
  std::vector<SweepPoint> points;  // those of simplex_grid, in its order

  // What a picture calls the point: of a corner the input's name, else "3 oxygen, 1 numix".
  [[nodiscard]] std::string title(std::size_t point) const;
};

inline constexpr const char* sweep_name = "sweep.json";
inline constexpr int most_sweep_steps = 1000;
inline constexpr std::uint64_t most_sweep_points = 1000;

// Throws ConfigError for a grid that cannot be swept: fewer than two inputs, more than most_sweep_points points (naming
// points, inputs and steps), names of folders that a file system does not take.
void require_sweepable(std::size_t inputs, int steps);

void write_sweep(const std::filesystem::path& folder, const Sweep& sweep);
// Throws DataError, naming file and key: anything that is not a sweep of schema 1 with all points of its grid and a
// folder for each. The soups' weights are not read; `soup verify` does that.
Sweep read_sweep(const std::filesystem::path& folder);
// Throws DataError for a point whose ledger is missing or names another soup than sweep.json: one that was edited.
void require_unedited(const std::filesystem::path& folder, const Sweep& sweep);

}  // namespace soup
