// A recipe: a merge as a YAML file (schema 1, see merge/README.md), read strictly.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "merge/weight_rules.hpp"

namespace soup {

struct RecipeInput {
  std::string name;  // empty: after the path
  std::filesystem::path path;
  double weight = 1.0;
};

// What to merge and how; the command line's flags fill the same.
struct Recipe {
  std::string method = "mean";  // or one of method_names()
  std::vector<RecipeInput> inputs;
  std::optional<RecipeInput> base;
  std::map<std::string, double> parameters;  // those given; of the mean: lambda
  std::optional<std::uint64_t> seed;
  std::vector<WeightRule> rules;
  std::vector<std::string> parts;  // to merge; empty: those that were trained
  std::string dtype = "f32";
  std::string accumulator = "compact";
  std::string shard_size;         // "5GB"; empty: files as the first input's
  std::string variant;            // of the inputs' weights
  std::optional<int> scale_bits;  // absent: as the weights need
};

inline constexpr const char* mean_method = "mean";

// Relative paths are those from the recipe's folder. Throws ConfigError (file:line, key path): unknown keys, wrong
// types, values out of range, parameters that the method does not have, rules with inputs that there are not; DataError
// when the file cannot be read.
Recipe read_recipe(const std::filesystem::path& file);

// The same the other way: read_recipe gives an equal recipe. Throws DataError.
void write_recipe(const std::filesystem::path& file, Recipe recipe);

// The recipe with these weights, one an input, and without the inputs of weight 0.
Recipe with_weights(const Recipe& recipe, std::span<const double> weights);

// "models/oxygen.safetensors" and "models/oxygen/" -> "oxygen".
std::string name_after(const std::filesystem::path& path);

}  // namespace soup
