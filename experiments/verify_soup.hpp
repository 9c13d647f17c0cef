// Verification of soups and of what their ledgers rest on.
#pragma once

#include <filesystem>
#include <optional>

#include "core/digest.hpp"
#include "experiments/verifier.hpp"
#include "experiments/verify.hpp"
#include "merge/ledger.hpp"

namespace soup {

// All of a soup's folder: weights, accumulator, the soup made again, certificates, and the chain from images to the
// ledger. `promised`: the digest that a run's DONE file gives.
void verify_soup(Verifier& verifier, const std::filesystem::path& folder, const std::optional<Digest>& promised,
                 const VerifyOptions& options);

// From the images of each ingredient to the ledger: shard files -> Merkle root -> the record's data root -> ledger.
void verify_chain(Verifier& verifier, const Ledger& ledger, const std::filesystem::path& soup_folder);

// The ledger's history, and the certificates that it names, in the soup's folder.
void verify_certificates(Verifier& verifier, const Ledger& ledger, const std::filesystem::path& soup_folder,
                         const VerifyOptions& options);
// One certificate's file, with its soup where that is beside it.
void verify_certificate(Verifier& verifier, const std::filesystem::path& file, const VerifyOptions& options);

}  // namespace soup
