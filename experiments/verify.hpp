// Recomputes what digests promise: of a shard file, a model, a soup, a certificate, or all of a run. Reads only.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "core/signature.hpp"
#include "experiments/verifier.hpp"

namespace soup {

struct VerifyOptions {
  // Certificates must be signed by this key; absent: by any, or none.
  std::optional<PublicKey> signer;
};

// `path`: a shard file (.h5), a model folder (with or without ingredient.json), a soup folder (ledger.json), a
// certificate of removal (.json) or a run folder (experiment.yaml). A soup is made again from its ingredients, in a
// temporary folder, and must come out with the same weights. What disagrees, and what cannot be checked for want of
// files, is a finding; throws DataError when `path` is none of these.
std::vector<Finding> verify(const std::filesystem::path& path, const VerifyOptions& options = {});

}  // namespace soup
