// The part of a ledger that says how a soup was made that is more than a mean of whole models.
#include "merge/ledger_method.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "core/error.hpp"

namespace soup {

using nlohmann::json;

namespace {

WeightRule rule_from_json(StrictObject object) {
  WeightRule rule{object.text("pattern"), {}};
  StrictObject weights = object.object("weights");
  for (const std::string& name : weights.keys()) {
    rule.weights.emplace(name, weights.number(name));
  }
  object.done();
  return rule;
}

}  // namespace

json parameters_to_json(const Ledger& ledger) {
  json parameters = json::object();
  for (const auto& [name, value] : ledger.blend ? ledger.blend->parameters : std::map<std::string, double>{}) {
    parameters[name] = value;
  }
  return parameters;
}

json rules_to_json(const Ledger& ledger) {
  json rules = json::array();
  for (const WeightRule& rule : ledger.rules) {
    json weights = json::object();
    for (const auto& [name, weight] : rule.weights) {
      weights[name] = ledger.blend ? json(weight) : json(static_cast<std::int64_t>(weight));
    }
    rules.push_back({{"pattern", rule.pattern}, {"weights", weights}});
  }
  return rules;
}

std::optional<MethodSettings> blend_from_json(StrictObject& object, const std::string& method) {
  MethodSettings settings{method, {}, {}};
  StrictObject parameters = object.object("parameters");
  for (const std::string& name : parameters.keys()) {
    settings.parameters.emplace(name, parameters.number(name));
  }
  if (const std::optional<std::string> seed = object.optional_text("seed")) {
    std::uint64_t value = 0;
    const auto [stop, error] = std::from_chars(seed->data(), seed->data() + seed->size(), value);
    if (error != std::errc() || stop != seed->data() + seed->size()) {
      object.refuse("seed", fmt::format("is \"{}\", not an integer below 2^64", *seed));
    }
    settings.seed = value;
  }
  if (method == "uniform" || method == "weighted") {
    if (settings.seed || !settings.parameters.empty()) {
      object.refuse("parameters", "and seed are of methods that are no mean");
    }
    return std::nullopt;
  }
  try {
    const MethodSettings all = complete(settings);
    if (all.parameters != settings.parameters || all.seed != settings.seed) {
      object.refuse("parameters", fmt::format("are not all those of method {}", method));
    }
  } catch (const ConfigError& error) {
    object.refuse("method", fmt::format("or its parameters: {}", error.message()));
  }
  return settings;
}

std::vector<WeightRule> rules_from_json(StrictObject& object) {
  std::vector<WeightRule> rules;
  for (StrictObject& rule : object.objects("rules")) {
    rules.push_back(rule_from_json(std::move(rule)));
  }
  return rules;
}

void require_rules(const Ledger& ledger, const std::filesystem::path& path) {
  for (const WeightRule& rule : ledger.rules) {
    double total = 0.0;
    for (const auto& [name, weight] : rule.weights) {
      const bool fits = ledger.blend || (weight >= 0.0 && weight <= 0x1p53 && weight == std::floor(weight));
      if (ledger.find(name) == nullptr || !fits) {
        throw DataError(path, fmt::format("the rule for {} gives {} the weight {}", rule.pattern, name, weight));
      }
      total += weight;
    }
    if (!ledger.blend &&
        (rule.weights.size() != ledger.ingredients.size() || total != static_cast<double>(ledger.total_weight))) {
      throw DataError(
          path, fmt::format("the rule for {} gives {} ingredients the total weight {}, not all {} that of {}",
                            rule.pattern, rule.weights.size(), total, ledger.ingredients.size(), ledger.total_weight));
    }
  }
}

}  // namespace soup
