// Weights of a soup learned by CMA-ES from scores, without gradients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "experiments/greedy_search.hpp"

namespace soup {

struct LearnedSettings {
  int budget = 100;                              // soups scored at most, the equal weights and the result included
  std::optional<int> population = std::nullopt;  // soups a generation; absent: CmaEs::default_population
  double sigma = 0.5;                            // first standard deviation of the logarithms of weights
  std::uint64_t seed = 0;
};

struct LearnedGeneration {
  std::vector<InputWeights> weights;  // each adds up to 1
  std::vector<Score> scores;
  double spread = 0.0;  // standard deviation of the logarithms of weights that they were drawn with
};

struct LearnedResult {
  std::vector<LearnedGeneration> generations;
  InputWeights weights;  // where the search came to; adds up to 1
  Score score;
};

// Weights w = softmax(B x), B an orthonormal basis of the plane of sum 0 (the inverse isometric log-ratio: Egozcue et
// al. 2003, Mathematical Geology 35, section 4): every x gives positive weights of sum 1, the origin equal ones, and no
// input is special. [x.size() + 1]
InputWeights simplex_weights(const std::vector<double>& x);

// Starts at equal weights and ends when the budget does, or when weights are drawn within 1 % of each other. The result
// is the last distribution's mean, not the best soup seen: the best of many noisy scores is best by luck. Throws
// ConfigError: fewer than two inputs, a budget without room for one generation. Calls `tell` after each generation.
LearnedResult learned_search(std::size_t inputs, const ScoreSoups& scores, bool higher_is_better,
                             const LearnedSettings& settings,
                             const std::function<void(const LearnedGeneration&)>& tell = {});

}  // namespace soup
