// Canonical YAML of a description of keys: fixed order, two-space indent, shortest numbers that read back to the same
// value.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "experiments/keys.hpp"

namespace soup {

// Keys whose path is in `without` are left out; list elements count as their list ("data.shards.weight").
std::string write_keys(const std::function<void(Keys&)>& describe, const std::set<std::string, std::less<>>& without);

// A text as a YAML scalar: plain where that reads back as the same text, else in double quotes.
std::string yaml_text(std::string_view text);
// The shortest decimal that reads back to the same double.
std::string yaml_number(double value);

}  // namespace soup
