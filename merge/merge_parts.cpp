// One part of a merge: the same part of every model opened, and merged by the mean or by a method.
#include "merge/merge_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/error.hpp"
#include "merge/blend.hpp"
#include "merge/compatibility.hpp"
#include "merge/float_formats.hpp"

namespace soup {

namespace {

// Of the ingredients that are blended, or averaged: for a method all but the base.
std::vector<std::string> names_of(const std::vector<OpenIngredient>& ingredients, const MergeOptions& options) {
  std::vector<std::string> names;
  for (const OpenIngredient& ingredient : ingredients) {
    if (!options.method || !ingredient.is_base) {
      names.push_back(ingredient.entry.name);
    }
  }
  return names;
}

// Those asked for, in the order of names_of.
std::vector<double> weights_of(const std::vector<OpenIngredient>& ingredients, const MergeOptions& options) {
  std::vector<double> weights;
  for (const OpenIngredient& ingredient : ingredients) {
    if (!options.method || !ingredient.is_base) {
      weights.push_back(options.method ? ingredient.entry.asked_weight.value()
                                       : static_cast<double>(ingredient.entry.weight));
    }
  }
  return weights;
}

std::vector<TensorName> floating_tensors(const std::vector<OpenIngredient>& ingredients,
                                         const std::vector<std::string>& parts) {
  std::vector<TensorName> names;
  for (const std::string& part : parts) {
    const ModelFolder& model = ingredients.front().model;
    const Weights weights = open_part(model, *model.find(part));
    for (const WeightTensor& tensor : weights.tensors()) {
      if (is_floating(tensor.dtype)) {
        names.push_back({part, tensor.name});
      }
    }
  }
  return names;
}

// An ingredient's integer weight of each tensor; empty without rules.
std::vector<std::int64_t> integer_tensor_weights(const LedgerIngredient& entry, const OpenPart& part,
                                                 const std::vector<WeightRule>& rules) {
  std::vector<std::int64_t> weights;
  for (const WeightTensor& tensor : part.weights.front().tensors()) {
    const std::optional<std::size_t> rule = rule_of(rules, part.name, tensor.name);
    weights.push_back(rule ? static_cast<std::int64_t>(rules[*rule].weights.at(entry.name)) : entry.weight);
  }
  return rules.empty() ? std::vector<std::int64_t>() : weights;
}

SumOutcome sum_part(const std::vector<OpenIngredient>& ingredients, const OpenPart& part, const MergeOptions& options,
                    const SumOptions& work, SoupWriter& out) {
  std::vector<SumTerm> terms;
  for (std::size_t i = 0; i < ingredients.size(); ++i) {
    const LedgerIngredient& entry = ingredients[i].entry;
    terms.push_back({&part.weights[i], entry.name, entry.weight, integer_tensor_weights(entry, part, options.rules)});
  }
  return stream_sum(terms, nullptr, work, out);
}

SumOutcome blend_part(const std::vector<OpenIngredient>& ingredients, const OpenPart& part, const MergeOptions& options,
                      const SumOptions& work, SoupWriter& out) {
  const std::unique_ptr<Method> method = make_method(*options.method);
  Blend blend{*method, {}, {}, {}, part.name, options.rules};
  // In the order of their names: doubles are added in that order, and no input comes first.
  std::vector<std::size_t> order(ingredients.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {},
                    [&](std::size_t i) { return std::pair(ingredients[i].is_base, ingredients[i].entry.name); });
  for (const std::size_t i : order) {
    const BlendInput input{&part.weights[i], ingredients[i].entry.name};
    if (ingredients[i].is_base) {
      blend.base = input;
    } else {
      blend.models.push_back(input);
      blend.weights.push_back(ingredients[i].entry.asked_weight.value());
    }
  }
  BlendOptions blend_options;
  blend_options.threads = work.threads;
  blend_options.digests = work.digests;
  blend_options.memory = options.work.memory;
  blend_options.progress = work.progress;
  const SumOutcome found = stream_blend(blend, blend_options, out);
  SumOutcome outcome = found;
  for (std::size_t i = 0; i < order.size(); ++i) {
    outcome.terms[order[i]] = found.terms[i];
  }
  return outcome;
}

}  // namespace

OpenPart open_part(const std::vector<OpenIngredient>& ingredients, const std::string& name,
                   const MergeOptions& options) {
  OpenPart part{name, {}};
  for (const OpenIngredient& ingredient : ingredients) {
    part.weights.push_back(open_part(ingredient.model, *ingredient.model.find(name)));
    require_same_tensors(part.weights.front(), ingredients.front().entry.name, part.weights.back(),
                         ingredient.entry.name, options.method ? FloatTypes::any : FloatTypes::equal);
  }
  return part;
}

void require_usable(const std::vector<OpenIngredient>& ingredients, const std::vector<std::string>& parts,
                    const MergeOptions& options) {
  const std::vector<std::string> names = names_of(ingredients, options);
  require_known_ingredients(options.rules, names);
  for (const WeightRule& rule : options.rules) {
    SOUP_REQUIRE(options.method || rule.weights.size() == names.size(), "a rule of a mean without every weight");
  }
  if (options.method) {
    const std::unique_ptr<Method> method = make_method(*options.method);
    const bool has_base = names.size() < ingredients.size();
    if (method->needs_base() != has_base) {
      throw ConfigError(fmt::format("method {} {}", options.method->name,
                                    has_base ? "has no use for a base" : "needs the base that the models come from"),
                        has_base ? "leave the base out" : "give it with --base PATH, or as base in a recipe");
    }
    require_usable_weights(*method, names, weights_of(ingredients, options), options.rules);
  }
  if (!options.rules.empty()) {
    require_matches(options.rules, floating_tensors(ingredients, parts));
  }
}

SumOutcome merge_part(const std::vector<OpenIngredient>& ingredients, const OpenPart& part, const MergeOptions& options,
                      std::function<void(std::uint64_t)> progress, SoupWriter& out) {
  const SumOptions work{options.work.threads, options.work.digests, std::move(progress)};
  return options.method ? blend_part(ingredients, part, options, work, out)
                        : sum_part(ingredients, part, options, work, out);
}

}  // namespace soup
