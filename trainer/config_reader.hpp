// Reads a config.json key by key and, at the end, refuses by name every key that nobody asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace soup {

// The releases whose keys and defaults are implemented; written into the files.
inline constexpr const char* diffusers_release = "0.42.1";
inline constexpr const char* transformers_release = "5.23.0";

// Every member throws DataError naming the file, the key and its value. Keys that begin with "_" are the writer's own.
class ConfigReader {
 public:
  // `what` names the part in messages ("U-Net").
  ConfigReader(const nlohmann::json& json, std::string where, std::string what);

  // The value of `key`, or `fallback` where it is absent or null.
  std::int64_t integer(const std::string& key, std::int64_t fallback);
  double number(const std::string& key, double fallback);
  bool boolean(const std::string& key, bool fallback);
  std::string text(const std::string& key, const std::string& fallback);
  std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& fallback);
  std::vector<std::int64_t> integers(const std::string& key, const std::vector<std::int64_t>& fallback);
  [[nodiscard]] bool is_list(const std::string& key) const;
  // Whether the key is there with the value null. Marks it as known.
  [[nodiscard]] bool is_null(const std::string& key);
  // Refuses null for keys whose null is not what their absence is.
  void refuse_null(std::initializer_list<const char*> keys) const;

  // The one value (or values) of `key` that is implemented; an absent key has the value `absent`.
  void only(const std::string& key, const nlohmann::json& absent, std::initializer_list<nlohmann::json> implemented);
  // A key that changes nothing here.
  void ignore(const std::string& key) { seen_.insert(key); }
  // Refuses the keys not asked for.
  void finish() const;
  // For a check of the caller's own: `key`, which is there, must be `expected`.
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const;

 private:
  // nullptr when absent or null.
  const nlohmann::json* find(const std::string& key);

  const nlohmann::json& json_;
  std::string where_;
  std::string what_;
  std::set<std::string> seen_;
};

// A JSON file of at most 16 MiB; throws DataError for what is none.
nlohmann::json read_config_file(const std::filesystem::path& path);

// "<key> = <value> must be at least <least>" for the first value that is not; "" when all are.
std::string first_below(std::int64_t least, std::initializer_list<std::pair<const char*, std::int64_t>> values);
// "<key> = <value> must be at most <most>" for the first value that is not; "" when all are.
std::string first_above(std::int64_t most, std::initializer_list<std::pair<const char*, std::int64_t>> values);

// Networks are built before their weights are read: numbers beyond these, far above any model's, would fill the memory
// or overflow first.
inline constexpr std::int64_t most_layers = 64;
inline constexpr std::int64_t widest_layer = 65536;

// Throws DataError when the configuration, as read from the file `where`, is an impossible one.
template <class Config>
Config checked_config(Config config, const std::string& where) {
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw DataError(where, problem);
  }
  return config;
}

}  // namespace soup
