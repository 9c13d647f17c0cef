// How well an ingredient follows from two soups, with it and without it.
#pragma once

#include <cstdint>
#include <span>

#include "merge/certificate.hpp"
#include "merge/weights.hpp"

namespace soup {

// One part of the two soups and of the ingredient that only `before` has. `total_weight` is N of `before`, and `weight`
// the ingredient's n.
struct InversionPart {
  const Weights* before = nullptr;
  const Weights* after = nullptr;
  const Weights* ingredient = nullptr;
};

// Of all floating weights of the parts, in double, summed in a fixed order whatever the number of threads. theta_j is
// computed from the soups as stored, so what remains is their rounding: about 2^-24 of a weight, times N / n. Reads the
// three once, in bounded memory. Throws DataError: files; Interrupted on a signal.
Inversion measure_inversion(std::span<const InversionPart> parts, std::int64_t total_weight, std::int64_t weight,
                            int threads);

}  // namespace soup
