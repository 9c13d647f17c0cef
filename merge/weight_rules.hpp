// Weights by tensor: rules that give the tensors whose names match a pattern weights of their own.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

// For tensors whose name, or "part/name", matches `pattern`. Ingredients not named here keep their own weight.
struct WeightRule {
  std::string pattern;
  std::map<std::string, double> weights;  // ingredient -> weight
};

// Whether the whole of `text` fits `pattern`, in which * stands for any characters, dots and slashes included, and ?
// for any one.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view text);

// The rule for a tensor, the last that matches it; absent when none does.
[[nodiscard]] std::optional<std::size_t> rule_of(std::span<const WeightRule> rules, std::string_view part,
                                                 std::string_view tensor);

// Throws ConfigError for a rule without weights or with the weight of an ingredient that is not one of `names`.
void require_known_ingredients(std::span<const WeightRule> rules, std::span<const std::string> names);

struct TensorName {
  std::string part;
  std::string tensor;
};
// Throws ConfigError for a pattern that matches none of the tensors that are averaged: it is a slip of the pen.
void require_matches(std::span<const WeightRule> rules, std::span<const TensorName> tensors);

// A tensor's weights, in the order of `names`: those of its rule, and `weights` for ingredients that it does not name.
[[nodiscard]] std::vector<double> tensor_weights(std::span<const std::string> names, std::span<const double> weights,
                                                 const WeightRule* rule);

}  // namespace soup
