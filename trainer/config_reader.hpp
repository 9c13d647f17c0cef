// Reads a config.json key by key and, at the end, refuses by name every key that nobody asked for.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace soup {

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

  // The one value (or values) of `key` that is implemented; an absent key has the value `absent`.
  void only(const std::string& key, const nlohmann::json& absent, std::initializer_list<nlohmann::json> implemented);
  // A key that changes nothing here.
  void ignore(const std::string& key) { seen_.insert(key); }
  // Refuses the keys not asked for.
  void finish() const;

 private:
  // nullptr when absent or null.
  const nlohmann::json* find(const std::string& key);
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const;

  const nlohmann::json& json_;
  std::string where_;
  std::string what_;
  std::set<std::string> seen_;
};

}  // namespace soup
