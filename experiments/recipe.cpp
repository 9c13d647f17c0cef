// A recipe: a merge as a YAML file, read strictly.
#include "experiments/recipe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/yaml_parser.hpp"
#include "experiments/yaml_path.hpp"
#include "experiments/yaml_reader.hpp"
#include "experiments/yaml_writer.hpp"
#include "merge/method.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr NumberRange any_weight{-1e6, 1e6};

void describe_input(Keys& keys, RecipeInput& input) {
  keys.text("name", input.name, Need::optional);
  keys.path("path", input.path, Need::required);
}

void read_parameter(Keys& keys, Recipe& recipe, std::string_view name, NumberRange range) {
  const auto given = recipe.parameters.find(std::string(name));
  std::optional<double> value = given == recipe.parameters.end() ? std::nullopt : std::optional(given->second);
  keys.optional_number(name, value, range);
  if (value) {
    recipe.parameters.insert_or_assign(std::string(name), *value);
  }
}

// The keys are those of the method, so that another's is unknown.
void describe_parameters(Keys& keys, Recipe& recipe) {
  if (recipe.method == mean_method) {
    read_parameter(keys, recipe, "lambda", {0.0, 1.0, true, true});
    return;
  }
  for (const MethodParameter& parameter : parameters_of(recipe.method)) {
    read_parameter(keys, recipe, parameter.name,
                   {parameter.least, parameter.most, parameter.open_below, !parameter.open_below});
  }
  if (has_seed(recipe.method)) {
    std::uint64_t seed = recipe.seed.value_or(0);
    keys.seed("seed", seed);
    recipe.seed = seed;
  }
}

void describe_rule(Keys& keys, const Recipe& recipe, WeightRule& rule) {
  keys.text("tensors", rule.pattern, Need::required);
  keys.section("weights", [&](Keys& weights) {
    for (const RecipeInput& input : recipe.inputs) {
      const auto given = rule.weights.find(input.name);
      std::optional<double> weight = given == rule.weights.end() ? std::nullopt : std::optional(given->second);
      weights.optional_number(input.name, weight, any_weight);
      if (weight) {
        rule.weights.insert_or_assign(input.name, *weight);
      }
    }
  });
}

void describe_output(Keys& keys, Recipe& recipe) {
  static constexpr auto dtypes = std::to_array<std::string_view>({"f64", "f32", "f16", "bf16", "input"});
  static constexpr auto accumulators = std::to_array<std::string_view>({"compact", "wide", "none"});
  keys.word("dtype", recipe.dtype, dtypes);
  keys.word("accumulator", recipe.accumulator, accumulators);
  if (keys.reading() || !recipe.shard_size.empty()) {
    keys.text("shard_size", recipe.shard_size, Need::optional);
  }
  int scale_bits = recipe.scale_bits.value_or(0);
  if (keys.reading() || scale_bits != 0) {
    keys.whole("scale_bits", scale_bits, {16, 52});
  }
  if (scale_bits != 0) {
    recipe.scale_bits = scale_bits;
  }
}

void describe(Keys& keys, std::int64_t& schema, Recipe& recipe) {
  std::vector<std::string> names = method_names();
  names.insert(names.begin(), mean_method);
  const std::vector<std::string_view> methods(names.begin(), names.end());
  keys.whole("schema", schema, {1, 1});
  keys.word("method", recipe.method, methods);
  keys.list(
      "inputs", recipe.inputs.size(), [&](std::size_t size) { recipe.inputs.resize(size); },
      [&](Keys& input, std::size_t i) {
        describe_input(input, recipe.inputs[i]);
        input.number("weight", recipe.inputs[i].weight, any_weight);
      });
  for (RecipeInput& input : recipe.inputs) {
    input.name = input.name.empty() ? name_after(input.path) : input.name;
  }
  bool has_base = recipe.base.has_value();
  RecipeInput base = recipe.base.value_or(RecipeInput{"base", {}, 1.0});
  keys.optional_section("base", has_base, [&](Keys& section) { describe_input(section, base); });
  if (has_base) {
    recipe.base = base;
  }
  keys.section("parameters", [&](Keys& section) { describe_parameters(section, recipe); });
  keys.list(
      "rules", recipe.rules.size(), [&](std::size_t size) { recipe.rules.resize(size); },
      [&](Keys& rule, std::size_t i) { describe_rule(rule, recipe, recipe.rules[i]); });
  keys.text_list("parts", recipe.parts);
  if (keys.reading() || !recipe.variant.empty()) {
    keys.text("variant", recipe.variant, Need::optional);
  }
  keys.section("output", [&](Keys& section) { describe_output(section, recipe); });
}

}  // namespace

std::string name_after(const fs::path& path) {
  const fs::path normal = path.lexically_normal();  // "models/a/" has an empty file name
  std::string name = (normal.has_filename() ? normal : normal.parent_path()).filename().string();
  for (const char* ending : {".index.json", ".safetensors", ".hdf5", ".h5"}) {
    if (name.ends_with(ending)) {
      name.resize(name.size() - std::string_view(ending).size());
    }
  }
  return name;
}

Recipe read_recipe(const fs::path& file) {
  const YamlNode root = read_yaml(file);
  Recipe recipe;
  std::int64_t schema = 0;
  const fs::path folder = file.parent_path();
  read_keys(
      root, [&](Keys& keys) { describe(keys, schema, recipe); },
      [&](const fs::path& written) { return (folder / written).lexically_normal(); });
  for (const auto& [key, is_missing] : {std::pair{"schema", schema == 0}, {"inputs", recipe.inputs.empty()}}) {
    if (is_missing) {
      throw ConfigError(where_of(root, key), key, "this key is required", "a recipe begins with schema: 1");
    }
  }
  for (std::size_t i = 0; i < recipe.rules.size(); ++i) {
    if (recipe.rules[i].weights.empty()) {
      const std::string key = fmt::format("rules[{}].weights", i);
      throw ConfigError(where_of(root, key), key, "gives no input a weight", "write it as weights: {name: 2}");
    }
  }
  return recipe;
}

void write_recipe(const fs::path& file, Recipe recipe) {
  const fs::path folder = fs::absolute(file).parent_path();
  const auto make_relative = [&](RecipeInput& input) {
    input.path = fs::absolute(input.path).lexically_normal().lexically_relative(folder.lexically_normal());
  };
  std::ranges::for_each(recipe.inputs, make_relative);
  if (recipe.base) {
    make_relative(*recipe.base);
  }
  std::int64_t schema = 1;
  write_file_atomically(file, write_keys([&](Keys& keys) { describe(keys, schema, recipe); }, {}));
}

Recipe with_weights(const Recipe& recipe, std::span<const double> weights) {
  SOUP_REQUIRE(weights.size() == recipe.inputs.size(), "weights of other inputs");
  Recipe result = recipe;
  result.inputs.clear();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] != 0.0) {
      result.inputs.push_back(recipe.inputs[i]);
      result.inputs.back().weight = weights[i];
    }
  }
  return result;
}

}  // namespace soup
