// Which of several models stand out from the others: in how far they moved, against whom, or by broken weights.
#include "merge/outliers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace soup {

namespace {

constexpr std::size_t least_for_scores = 4;
constexpr double score_cutoff = 3.5;
constexpr double least_factor = 1.25;
constexpr double few_factor = 3.0;
constexpr double opposed_cosine = -0.1;
constexpr double chance_deviations = 3.0;

double median_drift(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2.0;
}

// Modified z-scores; all 0 when all values are equal.
std::vector<double> scores_of(const std::vector<double>& values, double median) {
  std::vector<double> deviations(values.size());
  std::ranges::transform(values, deviations.begin(), [&](double value) { return std::fabs(value - median); });
  const double mad = median_drift(deviations);
  const double mean = std::accumulate(deviations.begin(), deviations.end(), 0.0) / static_cast<double>(values.size());
  std::vector<double> scores;
  for (const double value : values) {
    const double score = mad > 0.0 ? 0.6745 * (value - median) / mad : (value - median) / (1.253314 * mean);
    scores.push_back(mean > 0.0 ? score : 0.0);
  }
  return scores;
}

std::vector<double> others_than(const std::vector<double>& values, std::size_t index) {
  std::vector<double> rest = values;
  rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(index));
  return rest;
}

void add_drifts(const DifferenceRow& row, std::vector<Outliers::Drift>& found) {
  std::vector<double> drifts;
  for (std::size_t m = 0; m < row.sums.models(); ++m) {
    drifts.push_back(row.sums.drift(m));
  }
  // Infinite where the base is 0 throughout (biases before training): there is no scale to stand out on.
  if (drifts.size() < 2 || !std::ranges::all_of(drifts, [](double drift) { return std::isfinite(drift); })) {
    return;
  }
  if (drifts.size() < least_for_scores) {
    for (std::size_t m = 0; m < drifts.size(); ++m) {
      const double median = median_drift(others_than(drifts, m));
      if (median > 0.0 && drifts[m] > few_factor * median) {
        found.push_back({row.part, row.block, m, drifts[m], median, drifts[m] / median});
      }
    }
    return;
  }
  const double median = median_drift(drifts);
  const std::vector<double> scores = scores_of(drifts, median);
  for (std::size_t m = 0; m < drifts.size(); ++m) {
    const auto [low, high] = std::minmax(drifts[m], median);
    if (std::fabs(scores[m]) > score_cutoff && high >= least_factor * low) {
      found.push_back({row.part, row.block, m, drifts[m], median, scores[m]});
    }
  }
}

// The cosine of unrelated deltas.
double neutral_cosine(const Difference& difference) {
  return difference.reference == Reference::mean ? -1.0 / static_cast<double>(difference.models.size() - 1) : 0.0;
}

void add_opposed(const DifferenceRow& row, double neutral, std::vector<Outliers::Opposed>& found) {
  const double chance = chance_deviations / std::sqrt(static_cast<double>(row.sums.elements()));
  const double limit = std::max(neutral + std::min(opposed_cosine, -chance), -1.0);
  for (std::size_t a = 0; a < row.sums.models(); ++a) {
    for (std::size_t b = a + 1; b < row.sums.models(); ++b) {
      const double cosine = row.sums.cosine(a, b);
      if (cosine < limit) {  // never for NaN
        found.push_back({row.part, row.block, a, b, cosine});
      }
    }
  }
}

void add_broken(const PartDifference& part, const TensorDifference& tensor, Outliers& outliers) {
  if (tensor.base_not_finite.count > 0) {
    outliers.broken.push_back({part.name, tensor.name, std::nullopt, tensor.base_not_finite});
  }
  for (std::size_t m = 0; m < tensor.changes.size(); ++m) {
    if (tensor.not_finite[m].count > 0) {
      outliers.broken.push_back({part.name, tensor.name, m, tensor.not_finite[m]});
    }
    if (tensor.sums.elements() == 0 && !tensor.changes[m].equal) {
      outliers.integers.push_back({part.name, tensor.name, m});
    }
  }
}

bool is_unmoved(const PartDifference& part, std::size_t model) {
  return std::ranges::all_of(part.tensors, [&](const TensorDifference& tensor) { return tensor.changes[model].equal; });
}

std::string drift_rule(std::size_t models) {
  if (models < 2) {
    return "drift: one model has no others to stand out from";
  }
  if (models < least_for_scores) {
    return fmt::format("drift more than {} times the median of the other models", few_factor);
  }
  return fmt::format(
      "drift with a modified z-score beyond {} among {} models (Iglewicz & Hoaglin 1993), and a factor {} from the "
      "median",
      score_cutoff, models, least_factor);
}

std::string opposed_rule(const Difference& difference) {
  const double neutral = neutral_cosine(difference);
  return fmt::format("cosine below {:.3g}{} and {} standard deviations beyond chance", neutral + opposed_cosine,
                     neutral < 0.0 ? fmt::format(" (unrelated deltas from a mean: {:.3g})", neutral) : "",
                     chance_deviations);
}

}  // namespace

Outliers find_outliers(const Difference& difference) {
  Outliers outliers;
  const std::size_t models = difference.models.size();
  outliers.drift_rule = drift_rule(models);
  outliers.opposed_rule = opposed_rule(difference);
  std::vector<DifferenceRow> rows;
  if (difference.parts.size() > 1) {
    rows.push_back(total_row(difference));
  }
  for (const PartDifference& part : difference.parts) {
    rows.push_back(part_row(part));
    for (DifferenceRow& row : block_rows(part)) {
      rows.push_back(std::move(row));
    }
    for (const TensorDifference& tensor : part.tensors) {
      add_broken(part, tensor, outliers);
    }
    for (std::size_t m = 0; m < models; ++m) {
      if (models > 1 && is_unmoved(part, m)) {
        outliers.unmoved.push_back({part.name, m});
      }
    }
  }
  for (const DifferenceRow& row : rows) {
    add_drifts(row, outliers.drifts);
    add_opposed(row, neutral_cosine(difference), outliers.opposed);
  }
  // Said once, not again for every block.
  std::erase_if(outliers.drifts, [&](const Outliers::Drift& drift) {
    return drift.drift == 0.0 && std::ranges::any_of(outliers.unmoved, [&](const Outliers::Unmoved& unmoved) {
             return unmoved.part == drift.part && unmoved.model == drift.model;
           });
  });
  std::ranges::stable_sort(outliers.drifts, {}, [](const Outliers::Drift& drift) {
    return std::pair(!drift.block.empty(), -std::fabs(std::log(drift.drift / drift.median)));
  });
  std::ranges::stable_sort(outliers.opposed, {},
                           [](const Outliers::Opposed& pair) { return std::pair(!pair.block.empty(), pair.cosine); });
  return outliers;
}

}  // namespace soup
