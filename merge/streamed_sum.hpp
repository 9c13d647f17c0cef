// Sums of weights files, tensor block by tensor block: the arithmetic of `soup merge`, `add` and `remove`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "core/safetensors.hpp"
#include "merge/soup_file_writer.hpp"

namespace soup {

// One file that enters the sum; weight < 0 takes it out.
struct WeightedFile {
  const SafetensorsFile* file = nullptr;
  std::string name;  // the ingredient's
  std::int64_t weight = 1;
  double largest = 0.0;  // out: largest |w|
};

// A finished soup to start from: its accumulator, and its weights, which must be what the accumulator gives.
struct SumStart {
  const SafetensorsFile* accumulator = nullptr;
  const SafetensorsFile* soup = nullptr;
  SoupScale scale;
};

// Writes the sum of all terms (plus `start`, if any) into `out`. Needs blocks of `block_elements` in memory, not
// tensors. The files' tensors must be the same (require_same_tensors). Throws DataError for weights that are not finite
// or could overflow, and when the start's accumulator and weights disagree.
void stream_sum(std::span<WeightedFile> terms, const SumStart* start, const SoupScale& scale,
                std::size_t block_elements, SoupFileWriter& out);

}  // namespace soup
