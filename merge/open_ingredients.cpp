// The inputs of a merge, opened and of one origin.
#include "merge/open_ingredients.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "merge/compatibility.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

// The digest of a model as the base of others.
Digest origin_digest(const OpenIngredient& ingredient) {
  return model_digest(ingredient.recorded.empty() ? part_digests(ingredient.model.source) : ingredient.recorded);
}

// A folder without a record is the base where it has the digest that the others give their base: a soup's ledger, from
// which it is made again, does not say which ingredient it was pulled back to.
void recognise_base(std::vector<OpenIngredient>& ingredients) {
  const auto names_base = [](const OpenIngredient& ingredient) { return ingredient.entry.base_digest.has_value(); };
  const auto named = std::ranges::find_if(ingredients, names_base);
  if (named == ingredients.end()) {
    return;
  }
  for (OpenIngredient& ingredient : ingredients) {
    if (!ingredient.is_origin() && !names_base(ingredient) && ingredient.model.is_folder()) {
      ingredient.recorded_as_base = origin_digest(ingredient) == *named->entry.base_digest;
    }
  }
}

}  // namespace

std::vector<OpenIngredient> open_ingredients(const std::vector<MergeInput>& inputs, const MergeOptions& options) {
  std::vector<OpenIngredient> ingredients;
  for (const MergeInput& input : inputs) {
    OpenIngredient& ingredient = ingredients.emplace_back(open_ingredient(input, options.variant));
    if (ingredient.model.is_folder() != ingredients.front().model.is_folder()) {
      throw ConfigError(fmt::format("{} and {} are not both files or both folders", inputs.front().path.string(),
                                    input.path.string()));
    }
    if (options.method) {
      ingredient.entry.weight = 0;
      ingredient.entry.asked_weight = input.is_base ? std::nullopt : std::optional(input.asked.value_or(1.0));
    }
  }
  recognise_base(ingredients);
  std::ranges::stable_partition(ingredients, [](const OpenIngredient& ingredient) { return !ingredient.is_origin(); });
  const OpenIngredient& first = ingredients.front();
  std::vector<Origin> origins;
  for (OpenIngredient& ingredient : ingredients) {
    if (ingredient.is_origin() && !first.is_origin()) {
      const std::optional<Digest>& expected = first.entry.base_digest;
      // Of a file nobody knows which model it is.
      const bool can_tell = expected && ingredient.model.is_folder();
      ingredient.entry.base_digest = can_tell ? std::optional(origin_digest(ingredient)) : expected;
      lend_averages(first.model, ingredient.model);
    }
    origins.push_back({ingredient.model.source.string(), ingredient.entry.base_digest});
  }
  require_same_base(origins);
  return ingredients;
}

}  // namespace soup
