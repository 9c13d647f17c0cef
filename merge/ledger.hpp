// ledger.json: what a soup is made of, exactly, and what was done to it (schema 2, see merge/README.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/safetensors.hpp"
#include "merge/accumulator.hpp"
#include "merge/method.hpp"
#include "merge/weight_rules.hpp"

namespace soup {

// What one ingredient brought to one averaged part.
struct LedgerPart {
  Digest digest;         // weights_digest
  double largest = 0.0;  // largest |w|: decides whether a larger total weight could overflow
};

struct LedgerIngredient {
  std::string name;
  std::int64_t weight = 1;  // 0 in a soup that is no mean
  // Of a mean whose weights had to be quantised, or of a soup that is no mean: the weight that was asked for.
  std::optional<double> asked_weight;
  // Absent for models that soup did not train.
  std::optional<Digest> base_digest;
  std::optional<Digest> data_root_digest;
  std::optional<Digest> config_digest;
  std::int64_t images = 0;  // images seen
  std::string path;         // relative to the soup's folder
  std::map<std::string, LedgerPart> parts;
};

// The sums kept beside the soup.
struct LedgerAccumulator {
  AccumulatorKind kind = AccumulatorKind::none;
  std::map<std::string, Digest> parts;  // weights_digest of each part's accumulator
};

struct LedgerEvent {
  std::string action;      // "made", "added", "removed"
  std::string ingredient;  // "" for "made"
  std::int64_t total_weight = 0;
  std::string time;                        // ISO 8601, UTC
  std::optional<Digest> certificate = {};  // of removal: certificate_digest
  // Of a soup of survivors that was made: the ingredients that were to be in it, and why they are not.
  std::map<std::string, std::string> missing = {};
};

struct Ledger {
  std::string program;  // name and version of what wrote it
  // How a soup was made that is no mean; it has scale_bits and total_weight 0 and no accumulator.
  std::optional<MethodSettings> blend;
  int scale_bits = 0;
  std::int64_t total_weight = 0;
  // Weights by tensor. Of a mean: every ingredient's integer weight, adding up to total_weight.
  std::vector<WeightRule> rules;
  std::string dtype;  // "F32", "F16", ..., or "input": each tensor has its ingredients' type
  std::optional<Digest> base_digest;
  std::map<std::string, Digest> parts;  // weights_digest of each averaged part of the soup
  LedgerAccumulator accumulator;
  std::vector<LedgerIngredient> ingredients;  // sorted by name
  std::optional<LedgerIngredient> base;       // the model that a blend's method starts from
  std::vector<LedgerEvent> history;

  // model_digest of the averaged parts.
  [[nodiscard]] Digest soup_digest() const;
  // The blend's method; else "uniform" when all weights are equal, or "weighted".
  [[nodiscard]] std::string method() const;
  // nullptr when absent.
  [[nodiscard]] const LedgerIngredient* find(const std::string& name) const;
};

inline constexpr const char* ledger_name = "ledger.json";

// Ledger::dtype of a soup's floating type, absent for "input"; and back, for a text that a ledger may hold.
std::string ledger_dtype(std::optional<DType> dtype);
std::optional<DType> soup_dtype_of(const Ledger& ledger);

// Name and version of this program, for ledgers.
std::string program_version();
// This moment in ISO 8601, UTC.
std::string utc_now();

nlohmann::json to_json(const Ledger& ledger);
// Throws DataError (naming `path`) for anything that is not a ledger of schema 2 whose sums and digests agree.
Ledger ledger_from_json(const nlohmann::json& value, const std::filesystem::path& path);
Ledger read_ledger(const std::filesystem::path& soup_folder);
void write_ledger(const std::filesystem::path& soup_folder, const Ledger& ledger);

// Everything but history, paths and program version.
nlohmann::json state_of(const Ledger& ledger);
// A ledger from its state, without the rest. Throws as ledger_from_json.
Ledger ledger_from_state(nlohmann::json state, const std::filesystem::path& path);
// Digest of the state without the accumulator: equal for equal soups, however and whenever made.
Digest content_digest(const Ledger& ledger);

}  // namespace soup
