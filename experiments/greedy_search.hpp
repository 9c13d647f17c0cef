// The greedy soup (Wortsman et al. 2022, arXiv 2203.05482, recipe 1): inputs are tried in the order of their own
// scores, and each is kept that makes the soup of those kept before it better.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experiments/score_command.hpp"

namespace soup {

// One weight an input; those of weight 0 are left out.
using InputWeights = std::vector<double>;
// Scores of soups with these weights, in their order; the same for the same weights.
using ScoreSoups = std::function<std::vector<Score>(std::span<const InputWeights>)>;

// What counts as better.
struct Judgement {
  bool higher_is_better = true;
  // An improvement counts when it is larger than this many of its standard errors. Above 0, scores must have errors.
  double margin = 1.0;

  // Throws DataError when the margin needs an error that a score has not.
  [[nodiscard]] bool is_better(const Improvement& improvement) const;
};

struct GreedyStep {
  std::size_t input = 0;  // that was tried
  Score score;            // of the soup with it
  Improvement improvement;
  bool kept = false;
};

struct GreedyResult {
  std::vector<Score> alone;        // of each input
  std::vector<std::size_t> order;  // best alone first; equal scores in the inputs' order
  std::vector<GreedyStep> steps;   // of the second in the order and all after it
  InputWeights weights;            // of the soup: 1 or 0
  Score score;
};

// Where the recipe keeps a soup that is as good, this wants a gain beyond its error: each input kept is one more whose
// data the soup depends on. `ahead` soups are scored at once, on the guess that those before them are not kept; the
// result does not depend on it. Calls `tell` for each step as it is decided.
GreedyResult greedy_search(std::size_t inputs, const ScoreSoups& scores, const Judgement& judgement, std::size_t ahead,
                           const std::function<void(const GreedyStep&)>& tell = {});

}  // namespace soup
