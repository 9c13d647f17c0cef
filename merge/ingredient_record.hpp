// ingredient.json: what a trained model folder says of itself (schema 1, see merge/README.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/digest.hpp"

namespace soup {

enum class ModelKind { base, ingredient, paragon };

struct IngredientRecord {
  std::string name;  // the shard's, "base", or the paragon's
  ModelKind kind = ModelKind::ingredient;
  std::optional<Digest> base_digest;       // model_digest of the base it started from; absent for kind base
  Digest data_root_digest;                 // of all it was trained on
  Digest config_digest;                    // of the settings that decided the result
  std::int64_t images = 0;                 // images seen
  std::uint64_t seed = 0;                  // root seed
  std::vector<std::string> shards;         // shard files, relative to the run folder
  std::vector<std::string> trained_parts;  // "unet", "unet_ema": what a soup averages; all other parts are frozen
  std::map<std::string, Digest> weights;   // weights_digest of every part
};

inline constexpr const char* ingredient_record_name = "ingredient.json";

// Throws DataError: missing file, unknown schema or key, wrong type.
IngredientRecord read_ingredient_record(const std::filesystem::path& model_folder);
void write_ingredient_record(const std::filesystem::path& model_folder, const IngredientRecord& record);
// nullopt when the folder has no ingredient.json (a model made elsewhere).
std::optional<IngredientRecord> find_ingredient_record(const std::filesystem::path& model_folder);

// weights_digest of every part of a model folder, for a record.
std::map<std::string, Digest> part_digests(const std::filesystem::path& model_folder);

}  // namespace soup
