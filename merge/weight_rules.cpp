// Weights by tensor: rules that give the tensors whose names match a pattern weights of their own.
#include "merge/weight_rules.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

bool rule_matches(const WeightRule& rule, std::string_view part, std::string_view tensor) {
  return matches(rule.pattern, tensor) || matches(rule.pattern, fmt::format("{}/{}", part, tensor));
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text) {
  // Greedy with one way back, to the last star: linear in practice, and never exponential.
  std::size_t at = 0;
  std::size_t in_text = 0;
  std::size_t star = std::string_view::npos;
  std::size_t after_star = 0;  // where in `text` what follows the star was last tried
  while (in_text < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      after_star = in_text;
    } else if (at < pattern.size() && (pattern[at] == '?' || pattern[at] == text[in_text])) {
      ++at;
      ++in_text;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      in_text = ++after_star;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', at) == std::string_view::npos;
}

std::optional<std::size_t> rule_of(std::span<const WeightRule> rules, std::string_view part, std::string_view tensor) {
  for (std::size_t i = rules.size(); i > 0; --i) {
    if (rule_matches(rules[i - 1], part, tensor)) {
      return i - 1;
    }
  }
  return std::nullopt;
}

void require_known_ingredients(std::span<const WeightRule> rules, std::span<const std::string> names) {
  for (const WeightRule& rule : rules) {
    if (rule.pattern.empty() || rule.weights.empty()) {
      throw ConfigError(
          fmt::format("the rule for \"{}\" has {}", rule.pattern, rule.pattern.empty() ? "no pattern" : "no weights"));
    }
    for (const auto& [name, weight] : rule.weights) {
      if (std::ranges::find(names, name) == names.end()) {
        const std::string near = nearest(name, names);
        throw ConfigError(fmt::format("the rule for \"{}\" gives a weight to {}, but the inputs are {}", rule.pattern,
                                      name, fmt::join(names, ", ")),
                          near.empty() ? "" : fmt::format("did you mean {}?", near));
      }
    }
  }
}

void require_matches(std::span<const WeightRule> rules, std::span<const TensorName> tensors) {
  for (const WeightRule& rule : rules) {
    const bool used = std::ranges::any_of(
        tensors, [&](const TensorName& name) { return rule_matches(rule, name.part, name.tensor); });
    if (!used) {
      throw ConfigError(fmt::format("no tensor that is averaged matches the pattern \"{}\"", rule.pattern),
                        tensors.empty()
                            ? ""
                            : fmt::format("tensors are named like {} or {}/{}; * stands for any characters",
                                          tensors.front().tensor, tensors.front().part, tensors.front().tensor));
    }
  }
}

std::vector<double> tensor_weights(std::span<const std::string> names, std::span<const double> weights,
                                   const WeightRule* rule) {
  std::vector<double> result(weights.begin(), weights.end());
  for (std::size_t i = 0; rule != nullptr && i < names.size(); ++i) {
    const auto found = rule->weights.find(names[i]);
    if (found != rule->weights.end()) {
      result[i] = found->second;
    }
  }
  return result;
}

}  // namespace soup
