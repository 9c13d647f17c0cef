// `soup add` and `soup remove`: one ingredient in or out of a finished soup, bit-identical to making it anew.
#include "merge/edit.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"
#include "merge/compatibility.hpp"
#include "merge/fixed_point.hpp"
#include "merge/soup_folder_writer.hpp"
#include "merge/streamed_sum.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t block_elements = std::size_t{1} << 20;

struct OpenSoup {
  fs::path path;
  ModelFolder model;
  Ledger ledger;
  std::vector<std::string> parts;  // averaged

  [[nodiscard]] SoupScale scale() const { return {ledger.total_weight, ledger.scale_bits, ledger.dtype == "input"}; }
  [[nodiscard]] fs::path folder_of(const LedgerIngredient& ingredient) const {
    return (path / ingredient.path).lexically_normal();
  }
  [[nodiscard]] bool has_accumulator() const {
    for (const std::string& name : parts) {
      for (const fs::path& file : model.find(name)->files) {
        if (!fs::exists(path / accumulator_folder / file)) {
          return false;
        }
      }
    }
    return true;
  }
};

OpenSoup open_soup(const fs::path& folder) {
  OpenSoup soup{folder, read_model_folder(folder), read_ledger(folder), {}};
  for (const auto& [name, digest] : soup.ledger.parts) {
    const ModelPart* part = soup.model.find(name);
    if (part == nullptr) {
      throw DataError(folder, fmt::format("its ledger names part {}, but there is no such part", name));
    }
    const Digest found = part_digest(soup.model, *part);
    if (found != digest) {
      throw DataError(
          folder,
          fmt::format("the weights of {} have digest {}, but its ledger says {}", name, found.brief(), digest.brief()),
          "the files were changed after the soup was made");
    }
    soup.parts.push_back(name);
  }
  return soup;
}

// The soup's ingredient as its folder is now; throws DataError when that is not what went into the soup.
OpenIngredient reopen(const OpenSoup& soup, const LedgerIngredient& entry) {
  OpenIngredient ingredient = open_ingredient({entry.name, soup.folder_of(entry), entry.weight}, soup.parts);
  for (const auto& [name, part] : entry.parts) {
    const Digest found = ingredient.entry.parts.at(name).digest;
    if (found != part.digest) {
      throw DataError(ingredient.model.path,
                      fmt::format("the weights of {} have digest {}, but those that went into the soup {}", name,
                                  found.brief(), part.digest.brief()),
                      "a soup can only be changed by the very weights it was made of");
    }
  }
  return ingredient;
}

// Makes the soup anew from folders, with the history given.
Ledger make_anew(const OpenSoup& soup, const std::vector<LedgerIngredient>& kept, std::vector<MergeInput> inputs,
                 std::vector<LedgerEvent> history, const fs::path& output) {
  std::vector<std::string> missing;
  for (const LedgerIngredient& entry : kept) {
    if (!fs::is_directory(soup.folder_of(entry))) {
      missing.push_back(soup.folder_of(entry).string());
    }
  }
  if (!missing.empty()) {
    throw DataError(
        soup.path,
        fmt::format("it has no usable accumulator, and cannot be made anew without {}", fmt::join(missing, ", ")),
        "the ledger gives the ingredients' folders relative to the soup's");
  }
  for (const LedgerIngredient& entry : kept) {
    static_cast<void>(reopen(soup, entry));
    inputs.push_back({entry.name, soup.folder_of(entry), entry.weight});
  }
  MergeOptions options;
  options.scale_bits = soup.ledger.scale_bits;
  options.keep_dtype = soup.scale().keep_dtype;
  options.parts = soup.parts;
  options.history = std::move(history);
  return merge(inputs, output, options);
}

// The soup plus `signed_weight` times one ingredient, from the accumulator. `next` has the ingredients and history that
// the new soup will have.
Ledger change_sums(const OpenSoup& soup, const OpenIngredient& ingredient, std::int64_t signed_weight, Ledger next,
                   const fs::path& output) {
  SoupScale scale = soup.scale();
  scale.total_weight += signed_weight;
  require_same_model(soup.model, "the soup", ingredient.model, ingredient.entry.name, soup.parts);
  SoupFolderWriter writer(output, ingredient.model, soup.parts, scale, next.ingredients.size());
  for (const std::unique_ptr<SoupFolderWriter::File>& file : writer.files()) {
    const SafetensorsFile weights(soup.path / file->path);
    const SafetensorsFile accumulator(soup.path / accumulator_folder / file->path);
    require_same_tensors(weights, "the soup", file->like, ingredient.entry.name, FloatTypes::any);
    const SumStart start{&accumulator, &weights, soup.scale()};
    std::array<WeightedFile, 1> term{WeightedFile{&file->like, ingredient.entry.name, signed_weight, 0.0}};
    stream_sum(term, &start, scale, block_elements, file->writer);
    for (LedgerIngredient& entry : next.ingredients) {
      if (entry.name == ingredient.entry.name) {
        double& largest = entry.parts[file->part].largest;
        largest = std::max(largest, term[0].largest);
      }
    }
  }
  // Paths stand relative to the soup's folder, which may be a new one.
  for (LedgerIngredient& entry : next.ingredients) {
    const fs::path folder = entry.name == ingredient.entry.name ? ingredient.model.path : soup.folder_of(entry);
    entry.path =
        fs::absolute(folder).lexically_normal().lexically_relative(fs::absolute(output).lexically_normal()).string();
  }
  return writer.commit(std::move(next));
}

fs::path output_or(const fs::path& output, const fs::path& soup_folder) {
  if (output.empty()) {
    return soup_folder;
  }
  if (fs::exists(output)) {
    throw ConfigError(fmt::format("the output {} exists already", output.string()),
                      "give a new folder, or none to change the soup in place");
  }
  return output;
}

std::vector<std::string> names_of(const Ledger& ledger) {
  std::vector<std::string> names;
  for (const LedgerIngredient& entry : ledger.ingredients) {
    names.push_back(entry.name);
  }
  return names;
}

}  // namespace

Ledger add_ingredient(const fs::path& soup_folder, const MergeInput& input, const fs::path& output) {
  const fs::path target = output_or(output, soup_folder);
  const OpenSoup soup = open_soup(soup_folder);
  if (input.weight < 1) {
    throw ConfigError(
        fmt::format("ingredient {} has weight {}, but weights are integers from 1", input.name, input.weight));
  }
  if (soup.ledger.find(input.name) != nullptr) {
    throw ConfigError(fmt::format("the soup {} already has an ingredient {}", soup_folder.string(), input.name),
                      "remove it first, or give the new one another name");
  }
  OpenIngredient ingredient = open_ingredient(input, soup.parts);
  const std::array<Origin, 2> origins{Origin{soup_folder.string(), soup.ledger.base_digest},
                                      Origin{input.path.string(), ingredient.entry.base_digest}};
  require_same_base(origins);
  const auto digest_of = [](const auto& part) { return part.second.digest; };
  for (const LedgerIngredient& entry : soup.ledger.ingredients) {
    if (std::ranges::equal(entry.parts, ingredient.entry.parts, {}, digest_of, digest_of)) {
      throw ConfigError(
          fmt::format("the weights of {} are already in the soup, as ingredient {}", input.path.string(), entry.name));
    }
  }
  std::int64_t total = 0;
  if (__builtin_add_overflow(soup.ledger.total_weight, input.weight, &total)) {
    throw ConfigError("the ingredients' weights add up to more than 2^63");
  }
  require_valid_scale(soup.ledger.scale_bits, total);
  for (const LedgerIngredient& entry : soup.ledger.ingredients) {
    for (const auto& [name, part] : entry.parts) {
      require_in_range(part.largest, total, soup.ledger.scale_bits,
                       fmt::format("ingredient {}, part {}", entry.name, name));
    }
  }
  Ledger next = soup.ledger;
  next.history.push_back({"added", input.name, total, utc_now()});
  if (!soup.has_accumulator()) {
    return make_anew(soup, soup.ledger.ingredients, {input}, next.history, target);
  }
  next.ingredients.push_back(ingredient.entry);
  std::ranges::sort(next.ingredients, {}, &LedgerIngredient::name);
  return change_sums(soup, ingredient, input.weight, std::move(next), target);
}

Ledger remove_ingredient(const fs::path& soup_folder, const std::string& name, const fs::path& output) {
  const fs::path target = output_or(output, soup_folder);
  const OpenSoup soup = open_soup(soup_folder);
  const LedgerIngredient* found = soup.ledger.find(name);
  if (found == nullptr) {
    const std::vector<std::string> names = names_of(soup.ledger);
    const std::string near = nearest(name, names);
    throw ConfigError(
        fmt::format("the soup {} has no ingredient {}: it has {}", soup_folder.string(), name, fmt::join(names, ", ")),
        near.empty() ? "" : fmt::format("did you mean {}?", near));
  }
  if (soup.ledger.ingredients.size() == 1) {
    throw ConfigError(fmt::format("{} is the last ingredient of {}: nothing would be left", name, soup_folder.string()),
                      "delete the soup's folder instead");
  }
  const LedgerIngredient removed = *found;
  Ledger next = soup.ledger;
  std::erase_if(next.ingredients, [&](const LedgerIngredient& entry) { return entry.name == name; });
  next.history.push_back({"removed", name, soup.ledger.total_weight - removed.weight, utc_now()});
  if (!soup.has_accumulator() || !fs::is_directory(soup.folder_of(removed))) {
    return make_anew(soup, next.ingredients, {}, next.history, target);
  }
  return change_sums(soup, reopen(soup, removed), -removed.weight, std::move(next), target);
}

}  // namespace soup
