// A certificate of removal: its JSON and its signature.
#include "merge/certificate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/base64.hpp"
#include "core/error.hpp"
#include "merge/canonical_json.hpp"
#include "merge/certificate_findings.hpp"
#include "merge/strict_json.hpp"

namespace soup {

namespace {

using nlohmann::json;

constexpr int certificate_schema = 1;
constexpr const char* certificate_kind = "certificate of removal";
constexpr const char* inversion_formula = "(N*S_N - (N-n)*S_(N-n)) / n";

json before_or_after(const Ledger& ledger) {
  return {{"content_digest", content_digest(ledger).hex()}, {"ledger", state_of(ledger)}};
}

json removed_entry(const Certificate& certificate) {
  const json state = state_of(certificate.before);
  const json& entries = state.at("ingredients");
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const json& entry) { return entry.at("name") == certificate.removed; });
  SOUP_REQUIRE(found != entries.end(), "a certificate of an ingredient that was not there");
  return *found;
}

json inversion_to_json(const Certificate& certificate) {
  json measured = nullptr;
  if (certificate.inversion) {
    const std::optional<double> relative = certificate.inversion->relative_error();
    measured = {{"elements", certificate.inversion->elements},
                {"rms_error", certificate.inversion->rms_error},
                {"rms_difference", certificate.inversion->rms_difference},
                {"relative_error", relative ? json(*relative) : json(nullptr)}};
  }
  return {{"formula", inversion_formula}, {"measured", measured}, {"not_measured", certificate.not_measured}};
}

json signature_to_json(const std::optional<Certificate::Signed>& signature) {
  if (!signature) {
    return nullptr;
  }
  return {{"algorithm", "Ed25519"},
          {"public_key", to_base64(std::as_bytes(std::span(signature->key.bytes)))},
          {"fingerprint", signature->key.fingerprint().hex()},
          {"signature", to_base64(std::as_bytes(std::span(signature->signature.bytes)))}};
}

// The ledger of "before" or "after", whose digest must be its own.
Ledger read_state(const json& certificate, const std::string& key, StrictObject object,
                  const std::filesystem::path& path) {
  const Digest promised = object.digest("content_digest");
  static_cast<void>(object.object("ledger"));
  object.done();
  Ledger ledger;
  try {
    ledger = ledger_from_state(certificate.at(key).at("ledger"), path);
  } catch (const DataError& error) {
    throw DataError(path, fmt::format("{}.ledger: {}", key, error.message()), error.hint());
  }
  if (content_digest(ledger) != promised) {
    object.refuse("content_digest",
                  fmt::format("is {}, but the ledger gives {}", promised.hex(), content_digest(ledger).hex()));
  }
  return ledger;
}

// `after` must be `before` without the removed ingredient.
void require_removal(const Certificate& certificate, const json& removed, const std::filesystem::path& path) {
  if (certificate.before.find(certificate.removed) == nullptr) {
    throw DataError(path,
                    fmt::format("removed.name is {}, but before.ledger has no such ingredient", certificate.removed));
  }
  const json entry = removed_entry(certificate);
  if (entry != removed) {
    throw DataError(path, fmt::format("removed is not what before.ledger says of {}: they differ at {}",
                                      certificate.removed, json::diff(entry, removed).front().at("path").dump()));
  }
  json expected = state_of(certificate.before);
  json& left = expected.at("ingredients");
  left.erase(std::find(left.begin(), left.end(), entry));
  const json after = state_of(certificate.after);
  for (const char* key : {"ingredients", "scale_bits", "dtype", "base_digest"}) {
    if (after.at(key) != expected.at(key)) {
      throw DataError(path,
                      fmt::format("after.ledger.{} is not that of before.ledger without {}", key, certificate.removed));
    }
  }
}

std::optional<Inversion> inversion_from_json(StrictObject object, std::string& not_measured) {
  if (object.text("formula") != inversion_formula) {
    object.refuse("formula", fmt::format("is another one than {}", inversion_formula));
  }
  not_measured = object.text("not_measured");
  std::optional<Inversion> inversion;
  if (!object.is_null("measured")) {
    StrictObject measured = object.object("measured");
    inversion =
        Inversion{measured.integer("elements", 1), measured.number("rms_error"), measured.number("rms_difference")};
    static_cast<void>(measured.is_null("relative_error"));  // follows from the others, which the caller checks
    measured.done();
  }
  object.done();
  if (inversion.has_value() != not_measured.empty()) {
    object.refuse("not_measured", "must give a reason exactly where nothing was measured");
  }
  return inversion;
}

template <std::size_t size>
std::array<std::uint8_t, size> bytes_from_json(StrictObject& object, const std::string& key) {
  const std::optional<std::vector<std::byte>> read = from_base64(object.text(key));
  if (!read || read->size() != size) {
    object.refuse(key, fmt::format("is not {} bytes in base64", size));
  }
  std::array<std::uint8_t, size> bytes{};
  std::ranges::transform(*read, bytes.begin(), [](std::byte byte) { return static_cast<std::uint8_t>(byte); });
  return bytes;
}

Certificate::Signed signature_from_json(StrictObject object) {
  if (object.text("algorithm") != "Ed25519") {
    object.refuse("algorithm", "must be Ed25519");
  }
  const Certificate::Signed signature{{bytes_from_json<32>(object, "public_key")},
                                      {bytes_from_json<64>(object, "signature")}};
  if (object.digest("fingerprint") != signature.key.fingerprint()) {
    object.refuse("fingerprint", fmt::format("is not that of public_key, {}", signature.key.fingerprint().hex()));
  }
  object.done();
  return signature;
}

}  // namespace

std::optional<double> Inversion::relative_error() const {
  return rms_difference > 0.0 ? std::optional(rms_error / rms_difference) : std::nullopt;
}

json to_json(const Certificate& certificate) {
  json findings = json::array();
  for (const NotCovered& finding : certificate.not_covered) {
    findings.push_back(finding_to_json(finding));
  }
  return {{"schema", certificate_schema},
          {"kind", certificate_kind},
          {"program", certificate.program},
          {"time", certificate.time},
          {"how", certificate.how},
          {"removed", removed_entry(certificate)},
          {"before", before_or_after(certificate.before)},
          {"after", before_or_after(certificate.after)},
          {"not_covered", findings},
          {"inversion", inversion_to_json(certificate)},
          {"signature", signature_to_json(certificate.signature)}};
}

Certificate certificate_from_json(const json& value, const std::filesystem::path& path) {
  StrictObject object(value, path);
  static_cast<void>(object.integer("schema", certificate_schema, certificate_schema));
  if (object.text("kind") != certificate_kind) {
    object.refuse("kind", fmt::format("is not \"{}\"", certificate_kind));
  }
  Certificate certificate;
  certificate.program = object.text("program");
  certificate.time = object.text("time");
  certificate.how = object.text("how");
  if (certificate.how != "subtracted" && certificate.how != "made anew") {
    object.refuse("how", fmt::format("is \"{}\", but must be subtracted or made anew", certificate.how));
  }
  certificate.removed = object.object("removed").text("name");
  certificate.before = read_state(value, "before", object.object("before"), path);
  certificate.after = read_state(value, "after", object.object("after"), path);
  std::set<std::string> kinds;
  for (StrictObject& finding : object.objects("not_covered")) {
    certificate.not_covered.push_back(finding_from_json(std::move(finding)));
    if (!kinds.insert(certificate.not_covered.back().kind).second) {
      object.refuse("not_covered", fmt::format("has {} twice", certificate.not_covered.back().kind));
    }
  }
  for (const std::string_view kind : finding_kinds) {
    if (!kinds.contains(std::string(kind))) {
      object.refuse("not_covered", fmt::format("says nothing of {}", kind));
    }
  }
  certificate.inversion = inversion_from_json(object.object("inversion"), certificate.not_measured);
  if (!object.is_null("signature")) {
    certificate.signature = signature_from_json(object.object("signature"));
  }
  object.done();
  require_removal(certificate, value.at("removed"), path);
  // What is signed is made of what was read: no other text may have the same meaning.
  const json again = to_json(certificate);
  if (canonical_json(again) != canonical_json(value)) {
    const json difference = json::diff(again, value);
    throw DataError(path,
                    fmt::format("is not written as certificates are{}",
                                difference.empty() ? "" : ", first at " + difference.front().at("path").dump()),
                    "the file was changed after it was written");
  }
  return certificate;
}

Certificate read_certificate(const std::filesystem::path& file) {
  return certificate_from_json(read_json(file), file);
}

void write_certificate(const std::filesystem::path& file, const Certificate& certificate) {
  write_json(file, to_json(certificate));
}

std::string signed_text(const Certificate& certificate) {
  json value = to_json(certificate);
  value.erase("signature");
  return canonical_json(value);
}

Digest certificate_digest(const Certificate& certificate) {
  return sha256(signed_text(certificate));
}

void sign(Certificate& certificate, const SigningKey& key) {
  const std::string text = signed_text(certificate);
  certificate.signature = {key.public_key(), key.sign(std::as_bytes(std::span(text)))};
}

bool has_good_signature(const Certificate& certificate) {
  SOUP_REQUIRE(certificate.signature.has_value(), "the certificate has no signature");
  const std::string text = signed_text(certificate);
  return is_signature_of(certificate.signature->signature, std::as_bytes(std::span(text)), certificate.signature->key);
}

std::filesystem::path certificate_file(std::size_t entry, const std::string& ingredient) {
  constexpr std::size_t longest = 100;
  std::string name = ingredient.substr(0, longest);
  for (char& character : name) {
    const bool plain = (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
                       (character >= '0' && character <= '9') || character == '.' || character == '_' ||
                       character == '-';
    character = plain ? character : '_';
  }
  return std::filesystem::path(removals_folder) / fmt::format("{}-{}.json", entry, name);
}

}  // namespace soup
