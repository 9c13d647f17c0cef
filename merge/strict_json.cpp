// JSON files read strictly: a missing, unknown, repeated or wrongly typed key is a DataError that names file and key.
#include "merge/strict_json.hpp"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

using nlohmann::json;

namespace {

// What a message quotes of a file, and what a message says of one key, in bytes.
constexpr std::size_t longest_quote = 200;
constexpr std::size_t longest_problem = 1000;
// What soup and its peers write has five levels; copying and printing a value takes stack for each.
constexpr int most_levels = 64;

}  // namespace

json parse_json(std::string_view text, const std::filesystem::path& path) {
  // nlohmann takes a NUL for the end, and would let anything follow it.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    throw DataError(path, fmt::format("not valid JSON: byte {} is a NUL", nul));
  }
  // nlohmann keeps the last of repeated keys silently: look at each key as it is parsed.
  std::vector<std::set<std::string>> open_objects;
  const auto on_event = [&](int level, json::parse_event_t event, json& parsed) {
    if (level > most_levels) {
      throw DataError(path, fmt::format("nested deeper than {} levels", most_levels));
    }
    if (event == json::parse_event_t::object_start) {
      open_objects.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      open_objects.pop_back();
    } else if (event == json::parse_event_t::key && !open_objects.back().insert(parsed.get<std::string>()).second) {
      throw DataError(path, fmt::format("key \"{}\" appears twice in one object", excerpt(parsed.get<std::string>())));
    }
    return true;
  };
  try {
    return json::parse(text, on_event);
  } catch (const json::exception& error) {
    throw DataError(path, fmt::format("not valid JSON: {}", excerpt(error.what(), longest_quote)));
  }
}

json read_json(const std::filesystem::path& path) {
  return parse_json(read_file(path, 64ULL << 20), path);
}

void write_json(const std::filesystem::path& path, const json& value) {
  write_file_atomically(path, value.dump(2) + "\n");
}

StrictObject::StrictObject(const json& value, std::filesystem::path path, std::string key_path)
    : value_(&value), path_(std::move(path)), key_path_(std::move(key_path)) {
  if (!value.is_object()) {
    throw DataError(path_,
                    fmt::format("{} is {}, not an object",
                                key_path_.empty() ? "the file" : excerpt(key_path_, longest_quote), value.type_name()));
  }
}

std::string StrictObject::path_of(const std::string& key) const {
  return key_path_.empty() ? key : key_path_ + "." + key;
}

json digest_or_null(const std::optional<Digest>& digest) {
  return digest ? json(digest->hex()) : json(nullptr);
}

void StrictObject::refuse(const std::string& key, const std::string& problem) const {
  throw DataError(path_, fmt::format("{} {}", excerpt(path_of(key), longest_quote), excerpt(problem, longest_problem)));
}

const json& StrictObject::take(const std::string& key) {
  const auto found = value_->find(key);
  if (found == value_->end()) {
    refuse(key, "is missing");
  }
  taken_.insert(key);
  return *found;
}

std::string StrictObject::text(const std::string& key) {
  const json& value = take(key);
  if (!value.is_string()) {
    refuse(key, fmt::format("is {}, not a text", value.type_name()));
  }
  return value.get<std::string>();
}

std::int64_t StrictObject::integer(const std::string& key, std::int64_t least, std::int64_t most) {
  const json& value = take(key);
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX)) {
    refuse(key, fmt::format("is {}, not an integer", excerpt(value.dump(), longest_quote)));
  }
  const auto number = value.get<std::int64_t>();
  if (number < least || number > most) {
    refuse(key, fmt::format("is {}, but must be from {} to {}", number, least, most));
  }
  return number;
}

double StrictObject::number(const std::string& key) {
  const json& value = take(key);
  if (!value.is_number()) {
    refuse(key, fmt::format("is {}, not a number", value.type_name()));
  }
  return value.get<double>();
}

bool StrictObject::boolean(const std::string& key) {
  const json& value = take(key);
  if (!value.is_boolean()) {
    refuse(key, fmt::format("is {}, not true or false", value.type_name()));
  }
  return value.get<bool>();
}

Digest StrictObject::digest(const std::string& key) {
  const std::string hex = text(key);
  try {
    return Digest::from_hex(hex);
  } catch (const ConfigError&) {
    refuse(key, fmt::format("is \"{}\", not the 64 hex digits of a SHA-256 digest", excerpt(hex, longest_quote)));
  }
}

std::optional<Digest> StrictObject::optional_digest(const std::string& key) {
  return is_null(key) ? std::nullopt : std::optional(digest(key));
}

std::optional<double> StrictObject::optional_number(const std::string& key) {
  return take(key).is_null() ? std::nullopt : std::optional(number(key));
}

std::optional<std::string> StrictObject::optional_text(const std::string& key) {
  return take(key).is_null() ? std::nullopt : std::optional(text(key));
}

std::optional<StrictObject> StrictObject::optional_object(const std::string& key) {
  return take(key).is_null() ? std::nullopt : std::optional(object(key));
}

std::vector<std::string> StrictObject::texts(const std::string& key) {
  const json& value = take(key);
  if (!value.is_array()) {
    refuse(key, fmt::format("is {}, not a list", value.type_name()));
  }
  std::vector<std::string> all;
  for (const json& element : value) {
    if (!element.is_string()) {
      refuse(key, fmt::format("holds {}, not only texts", element.type_name()));
    }
    all.push_back(element.get<std::string>());
  }
  return all;
}

std::vector<StrictObject> StrictObject::objects(const std::string& key) {
  const json& value = take(key);
  if (!value.is_array()) {
    refuse(key, fmt::format("is {}, not a list", value.type_name()));
  }
  std::vector<StrictObject> all;
  for (std::size_t i = 0; i < value.size(); ++i) {
    all.emplace_back(value[i], path_, fmt::format("{}[{}]", path_of(key), i));
  }
  return all;
}

StrictObject StrictObject::object(const std::string& key) {
  return {take(key), path_, path_of(key)};
}

bool StrictObject::is_null(const std::string& key) {
  return take(key).is_null();
}

std::vector<std::string> StrictObject::keys() const {
  std::vector<std::string> all;
  for (const auto& item : value_->items()) {
    all.push_back(item.key());
  }
  return all;
}

void StrictObject::done() const {
  for (const std::string& key : keys()) {
    if (!taken_.contains(key)) {
      const std::vector<std::string> known(taken_.begin(), taken_.end());
      const std::string near = nearest(key, known);
      throw DataError(path_, fmt::format("{} is not a known key", excerpt(path_of(key), longest_quote)),
                      near.empty() ? "a newer soup may have written this file" : fmt::format("did you mean {}?", near));
    }
  }
}

}  // namespace soup
