// Strict reading of a YAML tree through a description of its keys.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "experiments/keys.hpp"
#include "experiments/yaml_tree.hpp"

namespace soup {

// Reads `root` by the keys that `describe` lists. Every mistake is a ConfigError with the place ("file:line" or
// "--set a.b=c"), the full key path, what was found and what was expected: an unknown key (with the nearest valid one),
// a wrong type, a value out of its range, a missing required key. `resolve` turns a written path into the one to use.
void read_keys(const YamlNode& root, const std::function<void(Keys&)>& describe,
               const std::function<std::filesystem::path(const std::filesystem::path&)>& resolve);

}  // namespace soup
