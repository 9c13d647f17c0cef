// Key paths ("data.shards[2].name") into a tree of YAML values.
#pragma once

#include <string>
#include <string_view>

#include "experiments/yaml_tree.hpp"

namespace soup {

// Applies "a.b=c" or "a[2].b=c" to a tree: the value is parsed as YAML, missing maps are made (an unknown key is found
// by whoever reads the tree), list elements must exist. Throws ConfigError whose place is "--set a.b=c".
void apply_override(YamlNode& root, std::string_view assignment);

// The value with this key path ("data.shards[2].name"), or nullptr when it was not written.
const YamlNode* find_at(const YamlNode& root, std::string_view key_path);
// Where the value with this key path was written; for a key that was left out, where the nearest enclosing value was.
std::string where_of(const YamlNode& root, std::string_view key_path);

}  // namespace soup
