// Did the soup beat the paragon in this run? The answer in plain words, from paired differences and their errors.
#pragma once

#include <string>
#include <vector>

#include "experiments/evaluation_record.hpp"

namespace soup {

// One score of the comparison, seen from the soup.
struct ScoreVerdict {
  const ScoreKind* kind = nullptr;
  Estimate difference;  // soup - other
  int outcome = 0;      // 1 soup better, -1 other better, 0 within two standard errors
};

struct Verdict {
  std::vector<ScoreVerdict> scores;
  std::vector<const ScoreKind*> better, worse, equal;  // as the soup did
  std::string headline;                                // one sentence without markup
};

// 1 better, -1 worse, 0 where the difference is within two standard errors (or has none).
[[nodiscard]] int outcome_of(const ScoreKind& kind, const Estimate& difference);

// Over the scores that say different things: alignment, retrieval, context, style, kernel distance, held-out loss.
// `other` is how the headline calls the second model: "the paragon".
[[nodiscard]] Verdict judge(const Comparison& comparison, const std::string& other);

// "A", "A and B", "A, B and C" of the kinds' titles.
[[nodiscard]] std::string titles(const std::vector<const ScoreKind*>& kinds);

}  // namespace soup
