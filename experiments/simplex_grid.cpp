// The points of a sweep: all weights that are whole shares of one total.
#include "experiments/simplex_grid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "core/error.hpp"

namespace soup {

std::uint64_t simplex_points(std::size_t inputs, int steps) {
  SOUP_REQUIRE(inputs >= 1 && steps >= 1 && steps <= 1000, "a grid has inputs and 1 to 1000 steps");
  std::uint64_t points = 1;
  // C(steps + i, i) from C(steps + i - 1, i - 1): the product is divisible, and below 2^64 for the points counted.
  for (std::uint64_t i = 1; i < inputs; ++i) {
    const std::uint64_t factor = static_cast<std::uint64_t>(steps) + i;
    if (points >= most_counted_points) {
      return most_counted_points;
    }
    points = points * factor / i;
  }
  return std::min(points, most_counted_points);
}

std::vector<GridWeights> simplex_grid(std::size_t inputs, int steps) {
  std::vector<GridWeights> points;
  points.reserve(simplex_points(inputs, steps));
  GridWeights weights(inputs, 0);
  const std::function<void(std::size_t, int)> fill = [&](std::size_t input, int left) {
    if (input + 1 == inputs) {
      weights[input] = left;
      points.push_back(weights);
      return;
    }
    for (int weight = left; weight >= 0; --weight) {
      weights[input] = weight;
      fill(input + 1, left - weight);
    }
  };
  fill(0, steps);
  return points;
}

std::string point_name(const GridWeights& weights, int steps) {
  const std::size_t width = std::to_string(steps).size();
  std::string name;
  for (const int weight : weights) {
    name += fmt::format("{}{:0{}}", name.empty() ? "" : "-", weight, width);
  }
  return name;
}

}  // namespace soup
