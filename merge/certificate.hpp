// A certificate of removal: what was taken out of a soup, what that does not undo, and who says so (schema 1, see
// merge/README.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/signature.hpp"
#include "merge/ledger.hpp"

namespace soup {

// Images of the removed ingredient's shard files that are also in those of remaining ingredients. All images of a file
// count, trained on or held out.
struct ImageLookup {
  struct Shard {
    std::string ingredient;
    Digest root;  // of the shard file
    std::int64_t images = 0;
    std::int64_t exact = 0;            // of the removed images: how many have their pixels here
    std::optional<std::int64_t> near;  // how many others look like one here; absent: not looked for
  };
  struct Unknown {
    std::string ingredient;
    std::string reason;
  };
  struct Example {
    std::int64_t image = 0;  // in the removed shard file
    Digest digest;           // sample_digest
    std::string ingredient;  // that has it, too
    std::int64_t other_image = 0;
    Digest other_digest;
    bool exact = false;
  };
  std::vector<Digest> roots;  // of the removed ingredient's shard files
  std::int64_t images = 0;    // in them
  std::int64_t exact = 0;     // of these: how many are in any of `shards`
  std::optional<std::int64_t> near;
  std::vector<Shard> shards;
  std::vector<Unknown> not_looked_up;
  std::vector<Example> examples;  // the first few, exact ones first
};

// A soup that held the ingredient: the state after an entry of the ledger's history.
struct EarlierSoup {
  std::int64_t entry = 0;  // of the history, from 0
  std::string action;
  std::string ingredient;
  std::int64_t total_weight = 0;
  std::string time;
};

// What removing the ingredient does not undo.
struct NotCovered {
  std::string kind;  // pretraining, same_images, choices, earlier_soups, copies
  std::string text;
  std::map<std::string, Digest> digests = {};  // pretraining: "base" and the frozen parts
  std::vector<EarlierSoup> soups = {};         // earlier_soups
  std::optional<ImageLookup> lookup = {};      // same_images, where it was looked for
};

// How well the removed weights follow from the soups before and after: theta_j = (N S_N - (N - n_j) S_(N-n_j)) / n_j.
struct Inversion {
  std::int64_t elements = 0;
  double rms_error = 0.0;       // of theta_j from the two soups as they are stored
  double rms_difference = 0.0;  // of theta_j from the soup after: what there is to be known

  // 0: the soups give the ingredient away exactly; absent when the ingredient equals the soup after.
  [[nodiscard]] std::optional<double> relative_error() const;
};

struct Certificate {
  std::string program;  // name and version of what wrote it
  std::string time;     // ISO 8601, UTC
  std::string how;      // "subtracted" from the sums, or "made anew" of the ingredients that remain
  std::string removed;  // name; the ledger before has the rest
  Ledger before;        // both without history, paths and program
  Ledger after;
  std::vector<NotCovered> not_covered;
  std::optional<Inversion> inversion;
  std::string not_measured;  // why there is no inversion

  struct Signed {
    PublicKey key;
    Signature signature;
  };
  std::optional<Signed> signature;
};

nlohmann::json to_json(const Certificate& certificate);
// Throws DataError (naming `path`) for anything that is no certificate of schema 1 in itself consistent: `after` must
// be `before` without the removed ingredient. Signatures are not checked here.
Certificate certificate_from_json(const nlohmann::json& value, const std::filesystem::path& path);
Certificate read_certificate(const std::filesystem::path& file);
void write_certificate(const std::filesystem::path& file, const Certificate& certificate);

// What is signed: canonical_json without the signature; and its SHA-256, which the ledger's history keeps.
std::string signed_text(const Certificate& certificate);
Digest certificate_digest(const Certificate& certificate);
void sign(Certificate& certificate, const SigningKey& key);
// Throws InvariantError when it has no signature.
[[nodiscard]] bool has_good_signature(const Certificate& certificate);

// The folder in a soup that keeps its certificates, and a certificate's file in it: that of entry number `entry` of the
// ledger's history. Characters that trouble file systems are replaced.
inline constexpr const char* removals_folder = "removals";
std::filesystem::path certificate_file(std::size_t entry, const std::string& ingredient);

}  // namespace soup
