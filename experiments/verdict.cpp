#include "experiments/verdict.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string_view>

namespace soup {

namespace {

// The rest of score_kinds() are parts or variants of these.
constexpr std::array<std::string_view, 6> judged = {"alignment",      "retrieval_top1",  "context_accuracy",
                                                    "style_accuracy", "kernel_distance", "denoising_loss"};

}  // namespace

int outcome_of(const ScoreKind& kind, const Estimate& difference) {
  if (!(std::abs(difference.value) > 2.0 * difference.standard_error)) {  // NaN lands here too
    return 0;
  }
  return (difference.value > 0.0) == kind.higher_is_better ? 1 : -1;
}

std::string titles(const std::vector<const ScoreKind*>& kinds) {
  std::string text;
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    text += i == 0 ? "" : i + 1 == kinds.size() ? " and " : ", ";
    text += kinds[i]->sentence_name;
  }
  return text;
}

Verdict judge(const Comparison& comparison, const std::string& other) {
  Verdict verdict;
  for (const std::string_view name : judged) {
    const auto difference = comparison.differences.find(std::string(name));
    const ScoreKind* kind = find_score_kind(name);
    if (difference == comparison.differences.end() || kind == nullptr || difference->second.count == 0) {
      continue;
    }
    const int outcome = outcome_of(*kind, difference->second);
    verdict.scores.push_back({kind, difference->second, outcome});
    (outcome > 0 ? verdict.better : outcome < 0 ? verdict.worse : verdict.equal).push_back(kind);
  }
  if (verdict.scores.empty()) {
    verdict.headline = fmt::format("The soup and {} share no score to compare.", other);
  } else if (!verdict.better.empty() && verdict.worse.empty()) {
    verdict.headline = fmt::format("The soup beat {} on {} of {} scores and lost on none.", other,
                                   verdict.better.size(), verdict.scores.size());
  } else if (verdict.better.empty() && !verdict.worse.empty()) {
    verdict.headline = fmt::format("The soup did not beat {}: it lost on {} of {} scores and won on none.", other,
                                   verdict.worse.size(), verdict.scores.size());
  } else if (!verdict.better.empty()) {
    verdict.headline = fmt::format("A mixed result: the soup beat {} on {}, but lost on {}.", other,
                                   titles(verdict.better), titles(verdict.worse));
  } else {
    verdict.headline = fmt::format("No difference between the soup and {} can be told from noise.", other);
  }
  return verdict;
}

}  // namespace soup
