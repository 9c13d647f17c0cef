// An option whose value is one of a few names, each an enumerator.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/Validators.hpp>
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace soup {

// For CLI::Option::transform. Help and errors show the names alone, in their order here.
template <typename Enum>
CLI::Validator one_of(std::vector<std::pair<std::string, Enum>> choices) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) {
    names.push_back(name);
  }
  const std::string shown = fmt::format("{}", fmt::join(names, "|"));
  return CLI::Validator(
      [choices = std::move(choices), shown](std::string& text) {
        const auto found = std::ranges::find_if(choices, [&](const auto& choice) { return choice.first == text; });
        if (found == choices.end()) {
          return fmt::format("\"{}\" is none of {}", text, shown);
        }
        text = std::to_string(static_cast<int>(found->second));  // what CLI11 makes an enumerator of
        return std::string();
      },
      shown);
}

}  // namespace soup
