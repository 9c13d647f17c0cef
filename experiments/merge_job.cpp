// What `soup merge` is asked for, as what it does: a recipe as the inputs and options of a merge.
#include "experiments/merge_job.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "core/error.hpp"
#include "merge/integer_weights.hpp"

namespace soup {

namespace {

std::optional<DType> dtype_of(const std::string& name) {
  static const std::map<std::string, std::optional<DType>> dtypes{
      {"f64", DType::f64}, {"f32", DType::f32}, {"f16", DType::f16}, {"bf16", DType::bf16}, {"input", std::nullopt}};
  const auto found = dtypes.find(name);
  if (found == dtypes.end()) {
    throw ConfigError(fmt::format("dtype \"{}\" is none of f64, f32, f16, bf16 and input", name));
  }
  return found->second;
}

bool is_whole(double weight) {
  return weight >= 1.0 && weight <= 0x1p53 && weight == std::floor(weight);
}

// The factor of a pull-back; absent for a mean of the inputs alone.
std::optional<double> pull_back_of(const Recipe& recipe) {
  for (const auto& [name, value] : recipe.parameters) {
    if (name != "lambda") {
      throw ConfigError(fmt::format("the mean has no parameter {}", name), "give a --method that has it");
    }
  }
  if (recipe.seed) {
    throw ConfigError("the mean draws nothing, so it has no seed");
  }
  const auto lambda = recipe.parameters.find("lambda");
  const bool has_lambda = lambda != recipe.parameters.end();
  if (has_lambda != recipe.base.has_value()) {
    throw ConfigError(has_lambda ? "lambda pulls a mean back to a base, but there is none"
                                 : "the mean has no use for a base without lambda",
                      has_lambda ? "give it with --base PATH, or as base in a recipe"
                                 : "lambda is the share of the mean in base + lambda * (mean - base)");
  }
  return has_lambda ? std::optional(lambda->second) : std::nullopt;
}

// Integer weights of the mean, where those asked for are none or differ by tensor.
void make_integers(const Recipe& recipe, MergeJob& job) {
  const std::optional<double> lambda = pull_back_of(recipe);
  std::vector<std::string> names;
  std::vector<double> asked;
  for (const RecipeInput& input : recipe.inputs) {
    names.push_back(input.name);
    asked.push_back(input.weight);
  }
  if (!lambda && recipe.rules.empty() && std::ranges::all_of(asked, is_whole)) {
    for (std::size_t i = 0; i < asked.size(); ++i) {
      job.inputs[i].weight = static_cast<std::int64_t>(asked[i]);
    }
    return;
  }
  std::vector<WeightRule> rules = recipe.rules;
  if (lambda) {
    require_known_ingredients(rules, names);
    std::vector<std::string> with_base = names;
    with_base.push_back(recipe.base->name);
    for (WeightRule& rule : rules) {
      const std::vector<double> weights = pulled_back(tensor_weights(names, asked, &rule), *lambda);
      for (std::size_t i = 0; i < with_base.size(); ++i) {
        rule.weights[with_base[i]] = weights[i];
      }
    }
    asked = pulled_back(asked, *lambda);
    names = with_base;
  }
  IntegerWeights used = integer_weights(names, asked, rules);
  for (std::size_t i = 0; i < names.size(); ++i) {
    job.inputs[i].weight = used.weights[i];
    job.inputs[i].asked = asked[i];
  }
  job.notes = quantisation_lines(names, asked, used);
  for (const WeightRule& rule : used.rules) {
    std::vector<std::string> shares;
    for (const auto& [name, weight] : rule.weights) {
      shares.push_back(fmt::format("{} {}", name, static_cast<std::int64_t>(weight)));
    }
    job.notes.push_back(fmt::format("{}: {} of {}", rule.pattern, fmt::join(shares, ", "), used.total));
  }
  job.options.rules = std::move(used.rules);
  job.options.scale_bits = recipe.scale_bits.value_or(scale_bits_for(used.total));
}

}  // namespace

std::uint64_t file_bytes(const std::string& text) {
  static const std::map<std::string, std::uint64_t> units{{"", 1},
                                                          {"B", 1},
                                                          {"KB", 1000},
                                                          {"MB", 1000 * 1000},
                                                          {"GB", 1000 * 1000 * 1000},
                                                          {"K", 1000},
                                                          {"KiB", 1 << 10},
                                                          {"MiB", 1 << 20},
                                                          {"GiB", 1 << 30},
                                                          {"M", 1000 * 1000},
                                                          {"G", 1000 * 1000 * 1000}};
  double value = 0.0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto unit = units.find(std::string(stop, text.data() + text.size()));
  if (error != std::errc() || unit == units.end() || !(value >= 1.0) ||
      value * static_cast<double>(unit->second) > 1e18) {
    throw ConfigError("shard size " + text, {}, "is no size of a file", "write it as 5GB, 500MB or 2GiB");
  }
  return static_cast<std::uint64_t>(value * static_cast<double>(unit->second));
}

MergeJob merge_job(const Recipe& recipe) {
  MergeJob job;
  for (const RecipeInput& input : recipe.inputs) {
    job.inputs.push_back({input.name, input.path});
  }
  if (recipe.base) {
    job.inputs.push_back({recipe.base->name, recipe.base->path});
    job.inputs.back().is_base = true;
  }
  MergeOptions& options = job.options;
  options.dtype = dtype_of(recipe.dtype);
  options.accumulator = accumulator_kind(recipe.accumulator);
  options.variant = recipe.variant;
  options.scale_bits = recipe.scale_bits.value_or(default_scale_bits);
  if (!recipe.shard_size.empty()) {
    options.shard_bytes = file_bytes(recipe.shard_size);
  }
  if (!recipe.parts.empty()) {
    options.parts = recipe.parts;
  }
  if (recipe.method == mean_method) {
    make_integers(recipe, job);
    return job;
  }
  options.method = complete({recipe.method, recipe.parameters, recipe.seed});
  options.rules = recipe.rules;
  for (std::size_t i = 0; i < recipe.inputs.size(); ++i) {
    job.inputs[i].asked = recipe.inputs[i].weight;
  }
  return job;
}

}  // namespace soup
