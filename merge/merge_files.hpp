// `soup merge`: models in, soup out, streamed in bounded memory and without torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "merge/block_loop.hpp"
#include "merge/fixed_point.hpp"
#include "merge/ledger.hpp"
#include "merge/model_folder.hpp"
#include "merge/soup_folder_writer.hpp"

namespace soup {

struct MergeInput {
  std::string name;            // unique; the ingredient's name in the ledger
  std::filesystem::path path;  // anything that open_model opens
  std::int64_t weight = 1;
  // Digests that its parts' weights must have, as a ledger gives them; parts not named here may have any.
  std::map<std::string, Digest> expected = {};
  // The weight asked for: of a mean's only recorded, as `weight` is what it became (integer_weights); of a method the
  // weight, 1 when absent.
  std::optional<double> asked = std::nullopt;
  // The common base of the others: what a method starts from, or a mean is pulled back to.
  bool is_base = false;
};

// How the work is done; none of it changes a bit of the result.
struct MergeWork {
  int threads = usable_threads();
  // SHA-256 of ingredients and soup. Without them, which only a soup in one file can be, no ledger is kept.
  bool digests = true;
  Sync sync = Sync::yes;
  bool overwrite = false;                           // replace an output that exists
  std::uint64_t memory = std::uint64_t{256} << 20;  // bytes of all threads' buffers
  // Called with the bytes read so far and in all.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
};

struct MergeOptions {
  std::optional<MethodSettings> method;  // absent: the exact mean
  // Weights by tensor. Of a mean: an integer weight for every ingredient, with the inputs' total (integer_weights).
  std::vector<WeightRule> rules;
  int scale_bits = default_scale_bits;
  std::optional<DType> dtype = DType::f32;  // of the soup's floating tensors; absent: as in the inputs (one rounding)
  AccumulatorKind accumulator = AccumulatorKind::compact;
  std::optional<std::uint64_t> shard_bytes;  // largest bytes of tensors per file; absent: files as the first input's
  // Parts to average. Absent: what the ingredients' records say was trained; without records, every part but
  // autoencoders and safety checkers, and text encoders only where they differ.
  std::optional<std::vector<std::string>> parts;
  std::string variant;               // of the inputs' weights, as "fp16"
  std::vector<LedgerEvent> history;  // of an edited soup made anew; empty: one entry "made"
  FinishFolder finish_folder;        // of a soup in a folder
  MergeWork work;
};

// Output: one file where `output` ends in .safetensors (the ledger without history in its metadata, no accumulator),
// else a folder with ledger.json and accumulator/. Atomic. Throws ConfigError (no input, repeated names, weights < 1,
// files mixed with folders, an output that exists or contains an input, a base that the method lacks or does not need,
// weights that it cannot use, a pattern without a match) and DataError (not one origin, NaN, Inf,
// overflow, files), Interrupted on a signal.
Ledger merge(const std::vector<MergeInput>& inputs, const std::filesystem::path& output,
             const MergeOptions& options = {});

// What merge() will read.
struct MergeExtent {
  std::vector<std::string> parts;  // to average
  std::uint64_t bytes = 0;         // of these parts in one input
};
// Throws what merge() throws before it writes, all but what is wrong with the output's name; reads headers, and files
// that are not averaged.
MergeExtent check_merge(const std::vector<MergeInput>& inputs, const MergeOptions& options = {});
// Throws ConfigError for an output that is or contains an input, or that exists and is not to be replaced.
void require_free_output(const std::vector<MergeInput>& inputs, const std::filesystem::path& output, bool overwrite);

// An ingredient, opened.
struct OpenIngredient {
  ModelFolder model;
  LedgerIngredient entry;                  // without `parts`
  std::vector<std::string> trained_parts;  // of its record, sorted; empty without one
  std::map<std::string, Digest> recorded;  // its record's digests of weights
  std::map<std::string, Digest> expected;  // the input's
  bool is_base = false;                    // the input's
  bool recorded_as_base = false;           // by its record, or by the digest that others give their base

  // What others come from has no base but itself.
  [[nodiscard]] bool is_origin() const { return is_base || recorded_as_base; }
};
OpenIngredient open_ingredient(const MergeInput& input, const std::string& variant = {});
// Throws DataError when `found`, the digest of a part's weights, is not the recorded or the expected one.
void require_known_weights(const OpenIngredient& ingredient, const std::string& part, const Digest& found);

}  // namespace soup
