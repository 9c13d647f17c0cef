// Verification of certificates of removal: signature, the ledger's history, and that what was removed is absent.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "core/error.hpp"
#include "experiments/verify_soup.hpp"
#include "merge/certificate.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// Who is in a soup; what is known of each.
using Members = std::map<std::string, std::optional<LedgerIngredient>>;

Members members_of(const Ledger& ledger) {
  Members members;
  for (const LedgerIngredient& entry : ledger.ingredients) {
    members.emplace(entry.name, entry);
  }
  return members;
}

bool is_same(const LedgerIngredient& a, const LedgerIngredient& b) {
  const auto same_part = [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.digest == y.second.digest && x.second.largest == y.second.largest;
  };
  return a.name == b.name && a.weight == b.weight && a.base_digest == b.base_digest &&
         a.data_root_digest == b.data_root_digest && a.config_digest == b.config_digest && a.images == b.images &&
         std::ranges::equal(a.parts, b.parts, same_part);
}

void require_members(const fs::path& path, const Members& found, const Members& promised, std::size_t entry) {
  const auto refuse = [&](const std::string& name, const std::string& what) {
    throw DataError(path, fmt::format("ingredient {} {} after entry {} of the ledger's history", name, what, entry));
  };
  for (const auto& [name, ingredient] : promised) {
    const auto other = found.find(name);
    if (other == found.end()) {
      refuse(name, "is missing from the certificate, but was in the soup");
    }
    if (ingredient && other->second && !is_same(*ingredient, *other->second)) {
      refuse(name, "is not the one that was in the soup");
    }
  }
  for (const auto& [name, ingredient] : found) {
    if (!promised.contains(name)) {
      refuse(name, "is in the certificate, but was not in the soup");
    }
  }
}

// The soup after each entry of its history, from the ledger backwards; removed ingredients as `certificates` (by entry)
// tell of them. Throws DataError for a history that does not lead to the ledger.
std::vector<Members> replay(const Ledger& ledger, const std::map<std::size_t, Certificate>& certificates,
                            const fs::path& path) {
  const std::vector<LedgerEvent>& history = ledger.history;
  std::vector<Members> states(history.size());
  Members members = members_of(ledger);
  std::int64_t total_weight = ledger.total_weight;
  for (std::size_t entry = history.size(); entry-- > 0;) {
    const LedgerEvent& event = history[entry];
    states[entry] = members;
    const auto refuse = [&](const std::string& problem) {
      throw DataError(
          path, fmt::format("entry {} of its history ({} {}) {}", entry, event.action, event.ingredient, problem));
    };
    if (event.total_weight != total_weight) {
      refuse(fmt::format("gives total weight {}, but what comes after needs {}", event.total_weight, total_weight));
    }
    if ((event.action == "made") != (entry == 0)) {
      refuse("stands in the wrong place: the first entry, and no other, is \"made\"");
    }
    if (entry == 0) {
      break;
    }
    total_weight = history[entry - 1].total_weight;
    const bool added = event.action == "added";
    if (members.contains(event.ingredient) != added) {
      refuse(added ? "adds what was not in the soup afterwards" : "removes what was in the soup afterwards");
    }
    if (added ? event.total_weight <= total_weight : event.total_weight >= total_weight) {
      refuse(fmt::format("changes the total weight from {} to {}", total_weight, event.total_weight));
    }
    if (added) {
      const std::optional<LedgerIngredient> known = members.at(event.ingredient);
      if (known && known->weight != event.total_weight - total_weight) {
        refuse(
            fmt::format("adds weight {}, but the ingredient has {}", event.total_weight - total_weight, known->weight));
      }
      members.erase(event.ingredient);
    } else {
      const auto certificate = certificates.find(entry);
      members.emplace(event.ingredient,
                      certificate == certificates.end()
                          ? std::nullopt
                          : std::optional(*certificate->second.before.find(certificate->second.removed)));
    }
  }
  return states;
}

std::string verify_signature(const fs::path& file, const Certificate& certificate, const VerifyOptions& options) {
  if (!certificate.signature) {
    throw DataError(
        file, fmt::format("is not signed, but a signature of {} was asked for", options.signer->fingerprint().hex()));
  }
  const Digest fingerprint = certificate.signature->key.fingerprint();
  if (options.signer && *options.signer != certificate.signature->key) {
    throw DataError(file, fmt::format("is signed by {}, but a signature of {} was asked for", fingerprint.hex(),
                                      options.signer->fingerprint().hex()));
  }
  if (!has_good_signature(certificate)) {
    throw DataError(file, fmt::format("its signature is not that of its content by {}", fingerprint.hex()),
                    "the content or the signature was changed after signing");
  }
  return fmt::format("signed by {}{}", fingerprint.hex(),
                     options.signer ? ", as asked for" : "; --key demands a certain signer");
}

void check_signature(Verifier& verifier, const fs::path& file, const Certificate& certificate,
                     const VerifyOptions& options) {
  if (!certificate.signature && !options.signer) {
    verifier.not_checked(file, "who vouches for it: it is not signed");
  } else {
    verifier.check(file, [&] { return verify_signature(file, certificate, options); });
  }
}

// That the certificate is the one of `entry`, and its two soups those of the history.
void require_entry(const fs::path& file, const Certificate& certificate, const Ledger& ledger, std::size_t entry,
                   const std::vector<Members>& states, const std::map<std::size_t, Certificate>& certificates) {
  const LedgerEvent& event = ledger.history[entry];
  if (certificate.removed != event.ingredient) {
    throw DataError(file, fmt::format("is about {}, but entry {} of the ledger's history removed {}",
                                      certificate.removed, entry, event.ingredient));
  }
  require_equal(file, "content (the ledger's history has its digest)", certificate_digest(certificate),
                *event.certificate);
  const auto require_weight = [&](const char* when, std::int64_t found, std::int64_t promised) {
    if (found != promised) {
      throw DataError(file,
                      fmt::format("the total weight {} is {}, but the ledger's history has {}", when, found, promised));
    }
  };
  require_weight("after", certificate.after.total_weight, event.total_weight);
  require_weight("before", certificate.before.total_weight, ledger.history[entry - 1].total_weight);
  require_members(file, members_of(certificate.after), states[entry], entry);
  if (entry + 1 == ledger.history.size()) {
    require_equal(file, "the soup after", content_digest(certificate.after), content_digest(ledger));
    for (const auto& [part, digest] : ledger.accumulator.parts) {
      const auto found = certificate.after.accumulator.parts.find(part);
      require_equal(file, "the accumulator of " + part + " after",
                    found == certificate.after.accumulator.parts.end() ? Digest{} : found->second, digest);
    }
  } else if (const auto next = certificates.find(entry + 1); next != certificates.end()) {
    require_equal(file, fmt::format("the soup after, before the removal of {}", next->second.removed),
                  content_digest(certificate.after), content_digest(next->second.before));
  }
}

// That the weights removed by `entry` are not in the soup, but for what its history says was added afterwards.
std::string require_absent(const fs::path& file, const Certificate& certificate, const Ledger& ledger,
                           std::size_t entry) {
  const LedgerIngredient& removed = *certificate.before.find(certificate.removed);
  const auto added_later = [&](const std::string& name) {
    const auto later = ledger.history.begin() + static_cast<std::ptrdiff_t>(entry) + 1;
    return std::any_of(later, ledger.history.end(),
                       [&](const LedgerEvent& event) { return event.action == "added" && event.ingredient == name; });
  };
  const auto digest = [](const auto& part) { return part.second.digest; };
  for (const LedgerIngredient& present : ledger.ingredients) {
    const bool same_weights = std::ranges::equal(present.parts, removed.parts, {}, digest, digest);
    if (!same_weights && present.name != removed.name) {
      continue;
    }
    if (!added_later(present.name)) {
      throw DataError(file, fmt::format("{} was removed, but ingredient {} of the soup has {}", removed.name,
                                        present.name, same_weights ? "the very same weights" : "its name"));
    }
    return fmt::format("entry {} removed {}, total weight {} to {}; {} was added later", entry, removed.name,
                       certificate.before.total_weight, certificate.after.total_weight, present.name);
  }
  return fmt::format("entry {} removed {}, total weight {} to {}; its weights are in the soup no more", entry,
                     removed.name, certificate.before.total_weight, certificate.after.total_weight);
}

// Those that are here and can be read, by entry; what else there is to say about the files is found here.
std::map<std::size_t, Certificate> read_all(Verifier& verifier, const Ledger& ledger, const fs::path& soup_folder) {
  std::map<std::size_t, Certificate> certificates;
  std::set<fs::path> known;
  std::error_code ignored;
  for (std::size_t entry = 0; entry < ledger.history.size(); ++entry) {
    const LedgerEvent& event = ledger.history[entry];
    if (event.action != "removed") {
      continue;
    }
    const fs::path file = soup_folder / certificate_file(entry, event.ingredient);
    known.insert(file);
    if (!event.certificate) {
      verifier.not_checked(file, fmt::format("the ledger names no certificate of the removal of {}", event.ingredient));
    } else if (!fs::exists(file, ignored)) {
      verifier.not_checked(file, fmt::format("the certificate of the removal of {} is not here", event.ingredient));
    } else {
      try {
        certificates.emplace(entry, read_certificate(file));
      } catch (const DataError& error) {
        verifier.check(file, [&error]() -> std::string { throw error; });
      }
    }
  }
  if (fs::is_directory(soup_folder / removals_folder, ignored)) {
    for (const fs::directory_entry& found : fs::directory_iterator(soup_folder / removals_folder)) {
      if (!known.contains(found.path())) {
        verifier.check(found.path(), [&]() -> std::string {
          throw DataError(found.path(), "belongs to no removal in the ledger's history");
        });
      }
    }
  }
  return certificates;
}

}  // namespace

void verify_certificates(Verifier& verifier, const Ledger& ledger, const fs::path& soup_folder,
                         const VerifyOptions& options) {
  const fs::path path = soup_folder / ledger_name;
  const std::map<std::size_t, Certificate> certificates = read_all(verifier, ledger, soup_folder);
  std::vector<Members> states;
  verifier.check(path, [&] {
    states = replay(ledger, certificates, path);
    return fmt::format("a history of {} entries that leads to these {} ingredients", ledger.history.size(),
                       ledger.ingredients.size());
  });
  for (const auto& [entry, certificate] : certificates) {
    const fs::path file = soup_folder / certificate_file(entry, ledger.history[entry].ingredient);
    check_signature(verifier, file, certificate, options);
    if (!states.empty()) {
      verifier.check(file, [&, number = entry, &read = certificate] {
        require_entry(file, read, ledger, number, states, certificates);
        return require_absent(file, read, ledger, number);
      });
    }
  }
}

void verify_certificate(Verifier& verifier, const fs::path& file, const VerifyOptions& options) {
  std::optional<Certificate> certificate;
  verifier.check(file, [&] {
    certificate = read_certificate(file);
    return fmt::format("{} removed, {} to {} ingredients, soup {} to {}", certificate->removed,
                       certificate->before.ingredients.size(), certificate->after.ingredients.size(),
                       certificate->before.soup_digest().brief(), certificate->after.soup_digest().brief());
  });
  if (!certificate) {
    return;
  }
  check_signature(verifier, file, *certificate, options);
  const fs::path folder = fs::absolute(file).parent_path();
  const fs::path soup_folder = folder.filename() == removals_folder ? folder.parent_path() : folder;
  std::error_code ignored;
  if (!fs::exists(soup_folder / ledger_name, ignored)) {
    verifier.not_checked(file, "whether it is a soup's: there is no ledger.json beside it");
    return;
  }
  verifier.check(file, [&] {
    const Ledger ledger = read_ledger(soup_folder);
    const Digest digest = certificate_digest(*certificate);
    const auto event = std::ranges::find(ledger.history, std::optional(digest), &LedgerEvent::certificate);
    if (event == ledger.history.end()) {
      throw DataError(
          file,
          fmt::format("its digest {} is not in the history of {}", digest.hex(), (soup_folder / ledger_name).string()),
          "it was changed, or belongs to another soup");
    }
    const auto entry = static_cast<std::size_t>(event - ledger.history.begin());
    const std::map<std::size_t, Certificate> certificates{{entry, *certificate}};
    require_entry(file, *certificate, ledger, entry, replay(ledger, certificates, soup_folder / ledger_name),
                  certificates);
    return require_absent(file, *certificate, ledger, entry);
  });
}

}  // namespace soup
