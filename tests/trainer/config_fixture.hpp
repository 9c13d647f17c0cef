// For tests of config.json readers: what diffusers and transformers wrote, and the words of a refusal.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup::test {

// config.json of tests/fixtures/parity/<name>.
inline nlohmann::json config_fixture(const std::string& name) {
  return nlohmann::json::parse(
      read_file(std::string(SOUP_SOURCE_DIR) + "/tests/fixtures/parity/" + name + "/config.json"));
}

// Why Config::from_json refuses `value` as folder/config.json; "accepted" if it does not.
template <class Config>
std::string refusal_of(const nlohmann::json& value) {
  try {
    Config::from_json(value, "folder/config.json");
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace soup::test
