// Strict YAML: text to a tree of values, and what a configuration must not hold refused. The only user of yaml-cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "experiments/yaml_tree.hpp"

namespace soup {

inline constexpr std::uintmax_t yaml_max_bytes = 1U << 20;

// Reads one document whose root is a map. Throws ConfigError (origin:line) for what a configuration must not hold:
// over 1 MiB, not UTF-8, tabs or other control characters, anchors, aliases, merge keys, tags, duplicate keys, keys
// that are no plain text, several documents, nesting over 32, or anything that is not YAML.
YamlNode parse_yaml(std::string_view text, std::string_view origin);
// The same, of a file. Throws DataError when it cannot be read.
YamlNode read_yaml(const std::filesystem::path& file);

// Any one value, as behind the "=" of --set: `origin` has no lines, and no text at all is nothing.
YamlNode parse_yaml_value(std::string_view text, std::string_view origin);

}  // namespace soup
