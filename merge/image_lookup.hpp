// The shard files that a soup's ingredients were trained on, and which images of one are in the others' too.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "merge/certificate.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/ledger.hpp"

namespace soup {

// One ingredient's shard files, or why they are not at hand.
struct IngredientShards {
  std::string ingredient;
  std::vector<std::filesystem::path> files;
  std::string reason;  // empty where there are files
};

// The run folder that a record's shard files are relative to: the nearest folder above the model that has all of them.
// nullopt when there is none, or the record names none.
std::optional<std::filesystem::path> find_run_folder(const std::filesystem::path& model_folder,
                                                     const IngredientRecord& record);

// In the ledger's order. `data`: shard files given by name, which belong to the ingredient of the same name or data
// root; without any, an ingredient's record says which it was trained on. Throws ConfigError for a file of `data` that
// belongs to no ingredient; DataError for one that is no shard file.
std::vector<IngredientShards> shards_of(const Ledger& ledger, const std::filesystem::path& soup_folder,
                                        const std::vector<std::filesystem::path>& data);

// Looks up every image of `removed`, which has files, in the files of the others: exactly by the digest of its pixels,
// and with `near` by difference hash and pixel difference (data/duplicates.hpp). An ingredient whose files are missing,
// damaged or of another size is listed as not looked up. Throws DataError when those of `removed` cannot be read.
ImageLookup look_up_images(const IngredientShards& removed, std::span<const IngredientShards> others, bool near);

}  // namespace soup
