// Reads a config.json key by key; what is not understood is refused, never skipped.
#include "trainer/config_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "core/atomic_file.hpp"

namespace soup {
namespace {

// nlohmann reads what is beyond std::int64_t as unsigned, and would wrap it.
bool is_whole(const nlohmann::json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max());
}

}  // namespace

ConfigReader::ConfigReader(const nlohmann::json& json, std::string where, std::string what)
    : json_(json), where_(std::move(where)), what_(std::move(what)) {
  if (!json_.is_object()) {
    throw DataError(where_, fmt::format("the {} configuration is a JSON {}, not an object", what_, json_.type_name()));
  }
}

const nlohmann::json* ConfigReader::find(const std::string& key) {
  seen_.insert(key);
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

void ConfigReader::fail(const std::string& key, const std::string& expected) const {
  throw DataError(where_,
                  fmt::format("{} configuration: {} = {}, but must be {}", what_, key, json_.at(key).dump(), expected));
}

std::int64_t ConfigReader::integer(const std::string& key, std::int64_t fallback) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  if (!is_whole(*value)) {
    fail(key, "an integer");
  }
  return value->get<std::int64_t>();
}

double ConfigReader::number(const std::string& key, double fallback) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_number()) {
    fail(key, "a number");
  }
  return value->get<double>();
}

bool ConfigReader::boolean(const std::string& key, bool fallback) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_boolean()) {
    fail(key, "true or false");
  }
  return value->get<bool>();
}

std::string ConfigReader::text(const std::string& key, const std::string& fallback) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_string()) {
    fail(key, "a string");
  }
  return value->get<std::string>();
}

std::vector<std::string> ConfigReader::texts(const std::string& key, const std::vector<std::string>& fallback) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_array() || !std::ranges::all_of(*value, [](const auto& item) { return item.is_string(); })) {
    fail(key, "a list of strings");
  }
  return value->get<std::vector<std::string>>();
}

std::vector<std::int64_t> ConfigReader::integers(const std::string& key, const std::vector<std::int64_t>& fallback) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) {
    return fallback;
  }
  if (!value->is_array() || !std::ranges::all_of(*value, is_whole)) {
    fail(key, "a list of integers");
  }
  return value->get<std::vector<std::int64_t>>();
}

bool ConfigReader::is_list(const std::string& key) const {
  const auto found = json_.find(key);
  return found != json_.end() && found->is_array();
}

bool ConfigReader::is_null(const std::string& key) {
  seen_.insert(key);
  const auto found = json_.find(key);
  return found != json_.end() && found->is_null();
}

void ConfigReader::refuse_null(std::initializer_list<const char*> keys) const {
  for (const char* key : keys) {
    if (const auto found = json_.find(key); found != json_.end() && found->is_null()) {
      fail(key, "a value (leave the key out for the default)");
    }
  }
}

void ConfigReader::only(const std::string& key, const nlohmann::json& absent,
                        std::initializer_list<nlohmann::json> implemented) {
  seen_.insert(key);
  const auto found = json_.find(key);
  const nlohmann::json& value = found == json_.end() ? absent : *found;
  if (std::ranges::find(implemented, value) != implemented.end()) {
    return;
  }
  std::string choices;
  for (const nlohmann::json& choice : implemented) {
    choices += (choices.empty() ? "" : " or ") + choice.dump();
  }
  throw DataError(where_,
                  fmt::format("{} configuration: {} = {}{} is not implemented, only {}", what_, key, value.dump(),
                              found == json_.end() ? " (the value of an absent key)" : "", choices));
}

void ConfigReader::finish() const {
  for (const auto& [key, value] : json_.items()) {
    if (!key.starts_with("_") && !seen_.contains(key)) {
      throw DataError(where_, fmt::format("{} configuration: unknown key {} = {}", what_, key, value.dump()),
                      "it may change what the network computes, so it is not skipped");
    }
  }
}

nlohmann::json read_config_file(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) {
    throw DataError(path, "does not exist", "was the model folder copied whole?");
  }
  const std::string text = read_file(path, 1ULL << 24);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path, fmt::format("is not JSON: {}", error.what()));
  }
}

std::string first_below(std::int64_t least, std::initializer_list<std::pair<const char*, std::int64_t>> values) {
  for (const auto& [key, value] : values) {
    if (value < least) {
      return fmt::format("{} = {} must be at least {}", key, value, least);
    }
  }
  return {};
}

std::string first_above(std::int64_t most, std::initializer_list<std::pair<const char*, std::int64_t>> values) {
  for (const auto& [key, value] : values) {
    if (value > most) {
      return fmt::format("{} = {} must be at most {}", key, value, most);
    }
  }
  return {};
}

}  // namespace soup
