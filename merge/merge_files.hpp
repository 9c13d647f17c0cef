// `soup merge`: models in, soup out, streamed in bounded memory and without torch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "merge/fixed_point.hpp"
#include "merge/ledger.hpp"
#include "merge/model_folder.hpp"

namespace soup {

struct MergeInput {
  std::string name;            // unique; the ingredient's name in the ledger
  std::filesystem::path path;  // a .safetensors file, or a model folder in diffusers' layout
  std::int64_t weight = 1;
};

struct MergeOptions {
  int scale_bits = default_scale_bits;
  bool keep_dtype = false;  // write the inputs' types (one rounding) instead of F32
  // Parts to average. Absent: what the ingredients' records say was trained; without records, every part but
  // autoencoders and safety checkers, and text encoders only where they differ.
  std::optional<std::vector<std::string>> parts;
  std::vector<LedgerEvent> history;                   // of an edited soup made anew; empty: one entry "made"
  std::size_t block_elements = std::size_t{1} << 20;  // per buffer
};

// Inputs are all files (output: a file, the ledger without history in its metadata) or all folders (output: a folder
// with ledger.json and accumulator/). Atomic. Throws ConfigError (no input, repeated names, weights < 1, mixed kinds)
// and DataError (not one origin, NaN, Inf, overflow, files).
Ledger merge(const std::vector<MergeInput>& inputs, const std::filesystem::path& output,
             const MergeOptions& options = {});

// An ingredient's folder, opened and checked against its record.
struct OpenIngredient {
  ModelFolder model;
  LedgerIngredient entry;                  // `parts` without their `largest`
  std::vector<std::string> trained_parts;  // of the record; empty without one
};
// `parts` empty: those its record says were trained. Throws DataError when weights differ from what the record says.
OpenIngredient open_ingredient(const MergeInput& input, const std::vector<std::string>& parts);

}  // namespace soup
