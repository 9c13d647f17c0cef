// Sums of weights, block by block on several threads: the arithmetic of `soup merge`, `add` and `remove`.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "merge/soup_writer.hpp"
#include "merge/sums_reader.hpp"
#include "merge/weights.hpp"

namespace soup {

// Weights that enter the sum; weight < 0 takes them out.
struct SumTerm {
  const Weights* weights = nullptr;
  std::string name;  // the ingredient's
  std::int64_t weight = 1;
  // Of the tensors that have a weight of their own, in the order of out.like().tensors(); empty: none has.
  std::vector<std::int64_t> tensor_weights = {};
};

struct SumOptions {
  int threads = 1;
  bool digests = true;  // of the terms and of what is written; costs about 0.5 s per GiB and processor
  // Called with the bytes of the soup written so far.
  std::function<void(std::uint64_t)> progress;
};

struct SumOutcome {
  struct Term {
    double largest = 0.0;  // largest |w|
    std::optional<Digest> digest;
  };
  std::vector<Term> terms;
  std::optional<Digest> soup;         // of what was written
  std::optional<Digest> accumulator;  // of what was written; absent when none is kept
  std::optional<Digest> start_soup;
  std::optional<Digest> start_accumulator;
};

// Writes the sum of all terms (plus `start`, if any) into `out`. Takes about 2 MiB of memory per thread. The terms'
// tensors must have the same names, shapes and types (require_same_tensors). Integer tensors must be equal and are
// copied. Throws DataError for integers that differ, weights that are not finite or could overflow, and when the
// start's accumulator and weights disagree; Interrupted on a signal.
SumOutcome stream_sum(std::span<const SumTerm> terms, const SumStart* start, const SumOptions& options,
                      SoupWriter& out);

}  // namespace soup
