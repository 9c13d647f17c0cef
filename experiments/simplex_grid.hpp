// The points of a sweep: all weights that are whole shares of one total.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace soup {

// Weights of all inputs, integers from 0 that add up to the steps of the grid.
using GridWeights = std::vector<int>;

// C(steps + inputs - 1, inputs - 1), or most_counted_points where it is more.
inline constexpr std::uint64_t most_counted_points = 1'000'000'000'000;
[[nodiscard]] std::uint64_t simplex_points(std::size_t inputs, int steps);

// All points, from the first input's corner to the last one's: the first weight falls, then the second, and so on. Of
// three inputs, rows of a triangle from top to bottom, each from left to right.
[[nodiscard]] std::vector<GridWeights> simplex_grid(std::size_t inputs, int steps);

// "04-08-00": as wide as the steps, so that names sort as weights do.
[[nodiscard]] std::string point_name(const GridWeights& weights, int steps);

}  // namespace soup
