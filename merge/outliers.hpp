// Which of several models stand out from the others: in how far they moved, against whom, or by broken weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "merge/difference.hpp"

namespace soup {

// Models by their index in Difference::models; part and block as in DifferenceRow (empty: all of it).
struct Outliers {
  struct Broken {
    std::string part;
    std::string tensor;
    std::optional<std::size_t> model;  // absent: the base
    NotFinite weights;
  };
  struct Integers {  // an integer tensor that is not the base's: such models cannot be merged
    std::string part;
    std::string tensor;
    std::size_t model = 0;
  };
  struct Unmoved {  // equal to the base where others are not
    std::string part;
    std::size_t model = 0;
  };
  struct Drift {
    std::string part;
    std::string block;
    std::size_t model = 0;
    double drift = 0.0;
    double median = 0.0;  // of all models; of the other models by the rule for few
    double score = 0.0;   // modified z-score; drift / median by the rule for few
  };
  struct Opposed {
    std::string part;
    std::string block;
    std::size_t a = 0;
    std::size_t b = 0;
    double cosine = 0.0;
  };
  std::vector<Broken> broken;
  std::vector<Integers> integers;
  std::vector<Unmoved> unmoved;
  std::vector<Drift> drifts;     // whole parts before blocks, then by drift / median
  std::vector<Opposed> opposed;  // whole parts before blocks, then by cosine
  // What was looked for, in words, with the numbers.
  std::string drift_rule;
  std::string opposed_rule;

  [[nodiscard]] std::size_t count() const {
    return broken.size() + integers.size() + unmoved.size() + drifts.size() + opposed.size();
  }
};

// Drift, in each block, part and over all, with 4 models or more: |M| > 3.5, M = 0.6745 (x - median) / MAD, MAD the
// median of |x - median| (Iglewicz & Hoaglin 1993, "How to Detect and Handle Outliers", section 3.2, their cutoff);
// where the MAD is 0, M = (x - median) / (1.253314 mean |x - median|), as they advise; and a factor of at least 1.25
// between x and the median, because the MAD of few models that agree closely makes much of little. With 2 or 3 models:
// more than 3 times the median of the others. With one: nothing. Opposed: cosine below -0.1, and below what chance
// gives deltas of n independent weights: three of its standard deviations 1 / sqrt(n) under its mean. From the mean of
// K models deltas add up to 0 and unrelated ones have cosine -1 / (K - 1): both bounds are then counted from there.
Outliers find_outliers(const Difference& difference);

}  // namespace soup
