// Sums over the deltas of weights in memory, strip by strip, with what is largest and what is not finite.
#include "merge/delta_segment.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/simd.hpp"

namespace soup {

namespace {

void join_stretch(NotFinite& into, const NotFinite& later) {
  if (into.count == 0) {
    into.first = later.first;
  }
  into.count += later.count;
}

void join_stretch(TensorChange& into, const TensorChange& later) {
  const bool equal = into.equal && later.equal;
  if (later.largest > into.largest) {
    into = later;
  }
  into.equal = equal;
}

SOUP_SIMD void subtract_base(const double* values, const double* base, std::size_t count, double* deltas) {
  for (std::size_t i = 0; i < count; ++i) {
    deltas[i] = values[i] - base[i];
  }
}

SOUP_SIMD void add_distances(const double* values, const double* origin, std::size_t count, double* sums) {
  for (std::size_t i = 0; i < count; ++i) {
    sums[i] += values[i] - origin[i];
  }
}

SOUP_SIMD void mean_from_distances(const double* origin, double divisor, std::size_t count, double* sums) {
  for (std::size_t i = 0; i < count; ++i) {
    sums[i] = origin[i] + sums[i] / divisor;
  }
}

SOUP_SIMD double largest_delta(const double* values, std::size_t count) {
  double largest = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    const double magnitude = std::fabs(values[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

SOUP_SIMD bool all_values_finite(const double* values, std::size_t count) {
  std::uint64_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    bad |= static_cast<std::uint64_t>(!(std::fabs(values[i]) <= std::numeric_limits<double>::max()));
  }
  return bad == 0;
}

void note_largest(std::uint64_t first, std::span<const double> deltas, const std::vector<double>& base,
                  const std::vector<double>& values, TensorChange& change) {
  const double largest = largest_delta(deltas.data(), deltas.size());
  change.equal &= largest == 0.0;
  if (largest > change.largest) {
    const auto at = static_cast<std::size_t>(
        std::ranges::find(deltas, largest, [](double delta) { return std::fabs(delta); }) - deltas.begin());
    change.largest = largest;
    change.element = first + at;
    change.from = base[at];
    change.to = values[at];
  }
}

}  // namespace

void DeltaSegment::append(const DeltaSegment& later) {
  sums.add(later.sums);
  join_stretch(base_not_finite, later.base_not_finite);
  for (std::size_t m = 0; m < changes.size(); ++m) {
    join_stretch(changes[m], later.changes[m]);
    join_stretch(not_finite[m], later.not_finite[m]);
  }
}

void DeltaStrip::add_to(DeltaSegment& segment, std::uint64_t first, std::size_t count, bool mean) {
  bool finite = mean || all_values_finite(base.data(), count);
  for (const std::vector<double>& of_model : values) {
    finite = all_values_finite(of_model.data(), count) && finite;
  }
  if (!finite) {
    leave_out_not_finite(segment, first, count, mean);
  } else if (mean) {
    take_mean(count);
  }
  for (std::size_t m = 0; m < values.size(); ++m) {
    subtract_base(values[m].data(), base.data(), count, deltas_[m].data());
    note_largest(first, std::span(deltas_[m]).first(count), base, values[m], segment.changes[m]);
  }
  segment.sums.add(std::span(base).first(count), deltas_);
}

// From the first model on, so that the mean of equal weights is that weight, bit for bit.
void DeltaStrip::take_mean(std::size_t count) {
  std::fill_n(base.begin(), count, 0.0);
  const double* origin = values.front().data();
  for (const std::vector<double>& of_model : values) {
    add_distances(of_model.data(), origin, count, base.data());
  }
  mean_from_distances(origin, static_cast<double>(values.size()), count, base.data());
}

// Counts values that are not finite and replaces them: in a model by the base's, in the base by 0 and all models' with
// it. A mean is taken of the finite ones.
void DeltaStrip::leave_out_not_finite(DeltaSegment& segment, std::uint64_t first, std::size_t count, bool mean) {
  for (std::size_t i = 0; i < count; ++i) {
    double origin = 0.0;  // the first that is finite
    double sum = 0.0;     // of differences from it
    std::size_t finite = 0;
    for (std::size_t m = 0; m < values.size(); ++m) {
      const double value = values[m][i];
      if (std::isfinite(value)) {
        origin = finite == 0 ? value : origin;
        sum += value - origin;
        ++finite;
      } else {
        join_stretch(segment.not_finite[m], {1, first + i});
        segment.changes[m].equal = false;
      }
    }
    if (mean) {
      base[i] = origin + sum / static_cast<double>(std::max<std::size_t>(finite, 1));
    }
    const bool base_finite = std::isfinite(base[i]);
    if (!base_finite) {
      join_stretch(segment.base_not_finite, {1, first + i});
      base[i] = 0.0;
    }
    for (std::vector<double>& of_model : values) {
      of_model[i] = base_finite && std::isfinite(of_model[i]) ? of_model[i] : base[i];
    }
  }
}

}  // namespace soup
