// `soup add` and `soup remove`: one ingredient in or out of a finished soup, bit-identical to making it anew.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/signature.hpp"
#include "merge/certificate.hpp"
#include "merge/ledger.hpp"
#include "merge/merge_files.hpp"

namespace soup {

// Both read the soup's ledger and accumulator, and one ingredient; without the accumulator (or, for remove, without the
// removed ingredient's folder) they make the soup anew from the ingredients' folders that the ledger names. The result
// goes to `output` (a new folder), or replaces the soup atomically when `output` is empty. The ledger gets a history
// entry, and certificates of earlier removals are kept. Returns the new ledger.

// Throws DataError: another base, other tensors or frozen parts, NaN, overflow at the new total weight, an accumulator
// that does not give the soup's weights; ConfigError: a name or weights that the soup already has.
Ledger add_ingredient(const std::filesystem::path& soup_folder, const MergeInput& input,
                      const std::filesystem::path& output = {});

struct RemovalOptions {
  std::optional<SigningKey> key;            // absent: the certificate is not signed
  std::vector<std::filesystem::path> data;  // shard files, beside those that the ingredients' records name
  bool near = true;                         // look for near-duplicates in the remaining shards, too
};

struct Removal {
  Ledger ledger;
  Certificate certificate;
  std::filesystem::path certificate_file;  // in the new soup
};

// The certificate is put into the new soup's folder. Throws ConfigError for an unknown name, for the last ingredient
// and for shard files of no ingredient; DataError when the ingredient's weights are not those that the ledger says were
// added.
Removal remove_ingredient(const std::filesystem::path& soup_folder, const std::string& name,
                          const std::filesystem::path& output = {}, const RemovalOptions& options = {});

}  // namespace soup
