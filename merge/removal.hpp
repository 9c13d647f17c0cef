// The certificate that `soup remove` writes: what it says, found out from the soups before and after.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "merge/certificate.hpp"
#include "merge/image_lookup.hpp"
#include "merge/ledger.hpp"
#include "merge/model_folder.hpp"

namespace soup {

// A removal whose new soup is written but does not have its name yet.
struct RemovalFacts {
  std::filesystem::path soup_folder;  // before
  const ModelFolder& model;           // of it
  const Ledger& before;
  const LedgerIngredient& removed;  // of `before`
  bool subtracted = true;           // its weights were read, and are those of the ledger
  std::vector<IngredientShards> shards;
  bool near = true;  // look for near-duplicates, too
};

// Without signature. Reads both soups, the removed ingredient and the shard files; what of these is missing is said in
// the certificate. Throws DataError for the soups; Interrupted on a signal.
Certificate describe_removal(const RemovalFacts& facts, const Ledger& after,
                             const std::filesystem::path& soup_folder_after);

// That who has both soups has the ingredient, with the number that tells how exactly.
std::string inversion_text(const Certificate& certificate);

// Copies the certificates of a soup into another soup's folder.
void keep_certificates(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace soup
