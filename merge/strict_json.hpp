// JSON files read strictly: a missing, unknown, repeated or wrongly typed key is a DataError that names file and key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/digest.hpp"

namespace soup {

// Parses text that must be one JSON value without repeated keys, nested 64 levels at most.
nlohmann::json parse_json(std::string_view text, const std::filesystem::path& path);
// Reads a file of at most 64 MiB.
nlohmann::json read_json(const std::filesystem::path& path);
// Writes `value` with two spaces of indentation and a final newline, atomically.
void write_json(const std::filesystem::path& path, const nlohmann::json& value);

// A digest in hexadecimal, or null for none: StrictObject::optional_digest the other way.
nlohmann::json digest_or_null(const std::optional<Digest>& digest);

// An object whose keys are taken one by one; done() refuses those nobody asked for. `key_path` ("ingredients[2]", "" at
// the top) stands in error messages.
class StrictObject {
 public:
  StrictObject(const nlohmann::json& value, std::filesystem::path path, std::string key_path = {});

  [[nodiscard]] std::string text(const std::string& key);
  [[nodiscard]] std::int64_t integer(const std::string& key, std::int64_t least, std::int64_t most = INT64_MAX);
  [[nodiscard]] double number(const std::string& key);
  [[nodiscard]] bool boolean(const std::string& key);
  [[nodiscard]] Digest digest(const std::string& key);
  // null is absent.
  [[nodiscard]] std::optional<Digest> optional_digest(const std::string& key);
  [[nodiscard]] std::optional<double> optional_number(const std::string& key);
  [[nodiscard]] std::optional<std::string> optional_text(const std::string& key);
  [[nodiscard]] std::optional<StrictObject> optional_object(const std::string& key);
  [[nodiscard]] std::vector<std::string> texts(const std::string& key);
  // The elements of an array of objects, and the members of an object of objects.
  [[nodiscard]] std::vector<StrictObject> objects(const std::string& key);
  [[nodiscard]] StrictObject object(const std::string& key);
  // As it is, for who reads it otherwise.
  [[nodiscard]] const nlohmann::json& value(const std::string& key) { return take(key); }
  // Whether the value is null, for keys that may have none.
  [[nodiscard]] bool is_null(const std::string& key);
  // All keys, for objects that are maps.
  [[nodiscard]] std::vector<std::string> keys() const;
  void done() const;

  // Throws DataError about this key.
  [[noreturn]] void refuse(const std::string& key, const std::string& problem) const;

 private:
  const nlohmann::json& take(const std::string& key);
  [[nodiscard]] std::string path_of(const std::string& key) const;

  const nlohmann::json* value_;
  std::filesystem::path path_;
  std::string key_path_;
  std::set<std::string> taken_;
};

}  // namespace soup
