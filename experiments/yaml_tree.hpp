// A YAML text as a tree of values, each of which knows where it was written; the only user of yaml-cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace soup {

inline constexpr std::uintmax_t yaml_max_bytes = 1U << 20;
inline constexpr int yaml_max_depth = 32;

struct YamlNode {
  enum class Kind { null, scalar, list, map };

  Kind kind = Kind::null;
  std::string text;     // scalar: its value
  bool quoted = false;  // scalar: written in quotes, so never a number or a truth value
  std::vector<YamlNode> items;
  std::vector<std::pair<std::string, YamlNode>> entries;  // map: in the order of the text
  std::shared_ptr<const std::string> origin;              // file name, or "--set a.b=c"
  int line = 0;                                           // from 1; 0 where the origin has no lines

  // "configs/x.yaml:12" or "--set a.b=c".
  [[nodiscard]] std::string where() const;
  // The entry of a map, or nullptr.
  [[nodiscard]] const YamlNode* find(std::string_view key) const;
  // What a person would call it in a message: `the text "abc"`, "a list of 3", "a map with 2 keys", "nothing".
  [[nodiscard]] std::string described() const;
};

// Reads one document whose root is a map. Throws ConfigError (origin:line) for what a configuration must not hold:
// over 1 MiB, not UTF-8, tabs or other control characters, anchors, aliases, merge keys, tags, duplicate keys, keys
// that are no plain text, several documents, nesting over 32, or anything that is not YAML.
YamlNode parse_yaml(std::string_view text, std::string_view origin);
// The same, of a file. Throws DataError when it cannot be read.
YamlNode read_yaml(const std::filesystem::path& file);

// Applies "a.b=c" or "a[2].b=c" to a tree: the value is parsed as YAML, missing maps are made (an unknown key is found
// by whoever reads the tree), list elements must exist. Throws ConfigError whose place is "--set a.b=c".
void apply_override(YamlNode& root, std::string_view assignment);

// The value with this key path ("data.shards[2].name"), or nullptr when it was not written.
const YamlNode* find_at(const YamlNode& root, std::string_view key_path);
// Where the value with this key path was written; for a key that was left out, where the nearest enclosing value was.
std::string where_of(const YamlNode& root, std::string_view key_path);

}  // namespace soup
