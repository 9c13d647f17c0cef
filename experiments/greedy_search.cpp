// The greedy soup.
#include "experiments/greedy_search.hpp"

#include <algorithm>
#include <numeric>

#include "core/error.hpp"

namespace soup {

bool Judgement::is_better(const Improvement& improvement) const {
  if (margin > 0.0 && !improvement.standard_error) {
    throw DataError(
        "the scoring command", "gives no standard error, so nobody knows what is an improvement",
        "print {\"score\": x, \"standard_error\": e} or {\"scores\": [...]}, or take any gain with --margin 0");
  }
  return improvement.value > margin * improvement.standard_error.value_or(0.0);
}

GreedyResult greedy_search(std::size_t inputs, const ScoreSoups& scores, const Judgement& judgement, std::size_t ahead,
                           const std::function<void(const GreedyStep&)>& tell) {
  SOUP_REQUIRE(inputs >= 1 && ahead >= 1, "a search among nothing");
  GreedyResult result;
  std::vector<InputWeights> candidates(inputs, InputWeights(inputs, 0.0));
  for (std::size_t i = 0; i < inputs; ++i) {
    candidates[i][i] = 1.0;
  }
  result.alone = scores(candidates);
  result.order.resize(inputs);
  std::iota(result.order.begin(), result.order.end(), std::size_t{0});
  std::ranges::stable_sort(result.order, [&](std::size_t a, std::size_t b) {
    return judgement.higher_is_better ? result.alone[a].value > result.alone[b].value
                                      : result.alone[a].value < result.alone[b].value;
  });
  result.weights = candidates[result.order.front()];
  result.score = result.alone[result.order.front()];
  for (std::size_t next = 1; next < inputs;) {
    const std::span<const std::size_t> tried = std::span(result.order).subspan(next, std::min(ahead, inputs - next));
    candidates.assign(tried.size(), result.weights);
    for (std::size_t i = 0; i < tried.size(); ++i) {
      candidates[i][tried[i]] = 1.0;
    }
    const std::vector<Score> found = scores(candidates);
    // Those after the first that is kept were made without it, so their turn comes again.
    for (std::size_t i = 0; i < tried.size(); ++i) {
      GreedyStep step{tried[i], found[i], improvement(found[i], result.score, judgement.higher_is_better)};
      step.kept = judgement.is_better(step.improvement);
      ++next;
      result.steps.push_back(step);
      if (tell) {
        tell(step);
      }
      if (step.kept) {
        result.weights = candidates[i];
        result.score = step.score;
        break;
      }
    }
  }
  return result;
}

}  // namespace soup
