// `soup merge`: models in, soup out, streamed in bounded memory and without torch.
#include "merge/merge_files.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "merge/compatibility.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/soup_folder_writer.hpp"
#include "merge/streamed_sum.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// The one part of a merge of plain files.
constexpr const char* file_part = "model";

std::int64_t checked_total(const std::vector<MergeInput>& inputs, int scale_bits) {
  if (inputs.empty()) {
    throw ConfigError("a soup needs at least one ingredient");
  }
  std::set<std::string> names;
  std::int64_t total = 0;
  for (const MergeInput& input : inputs) {
    if (input.name.empty() || !names.insert(input.name).second) {
      throw ConfigError(fmt::format("two ingredients are named \"{}\"", input.name), "give each input its own name");
    }
    if (input.weight < 1) {
      throw ConfigError(
          fmt::format("ingredient {} has weight {}, but weights are integers from 1", input.name, input.weight));
    }
    if (__builtin_add_overflow(total, input.weight, &total)) {
      throw ConfigError("the ingredients' weights add up to more than 2^63");
    }
  }
  require_valid_scale(scale_bits, total);
  return total;
}

std::vector<LedgerEvent> history_of(const MergeOptions& options, std::int64_t total_weight) {
  return options.history.empty() ? std::vector<LedgerEvent>{{"made", "", total_weight, utc_now()}} : options.history;
}

std::optional<Digest> base_in_metadata(const SafetensorsFile& file) {
  const auto found = file.metadata().find("soup.base");
  if (found == file.metadata().end() || found->second.empty()) {
    return std::nullopt;
  }
  try {
    return Digest::from_hex(found->second);
  } catch (const ConfigError&) {
    throw DataError(file.path(), fmt::format("metadata soup.base is \"{}\", not a SHA-256 digest", found->second));
  }
}

Ledger merge_plain_files(const std::vector<MergeInput>& inputs, const fs::path& output, const SoupScale& scale,
                         const MergeOptions& options) {
  std::vector<SafetensorsFile> files;
  std::vector<Origin> origins;
  for (const MergeInput& input : inputs) {
    files.emplace_back(input.path);
    origins.push_back({input.path.string(), base_in_metadata(files.back())});
    require_same_tensors(files.front(), inputs.front().name, files.back(), input.name);
  }
  require_same_base(origins);

  Ledger ledger;
  ledger.program = program_version();
  ledger.scale_bits = scale.scale_bits;
  ledger.total_weight = scale.total_weight;
  ledger.dtype = scale.keep_dtype ? "input" : "F32";
  ledger.base_digest = origins.front().base_digest;
  std::vector<WeightedFile> terms;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    terms.push_back({&files[i], inputs[i].name, inputs[i].weight, 0.0});
  }
  AtomicPath path(output);
  // The ledger stands in the metadata as one text, about as large as provenance itself.
  SoupFileWriter writer(path.partial(), {}, files.front(), scale, 2 * provenance_bytes(inputs.size()));
  stream_sum(terms, nullptr, scale, options.block_elements, writer);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    LedgerIngredient entry;
    entry.name = inputs[i].name;
    entry.weight = inputs[i].weight;
    entry.base_digest = origins[i].base_digest;
    entry.parts[file_part] = {weights_digest(files[i]), terms[i].largest};
    ledger.ingredients.push_back(std::move(entry));
  }
  std::ranges::sort(ledger.ingredients, {}, &LedgerIngredient::name);
  ledger.parts.emplace(file_part, weights_digest(SafetensorsFile(path.partial())));
  std::map<std::string, std::string> metadata = provenance(ledger);
  metadata["soup.ledger"] = to_json(ledger).dump();  // without history: equal inputs give equal files
  writer.set_metadata(metadata);
  path.commit();
  ledger.history = history_of(options, scale.total_weight);
  return ledger;
}

// Parts averaged when nothing says which: see MergeOptions::parts.
std::vector<std::string> default_parts(const std::vector<OpenIngredient>& ingredients) {
  constexpr std::array<std::string_view, 5> frozen{"vae", "autoencoder", "safety_checker", "image_encoder",
                                                   "feature_extractor"};
  const ModelFolder& first = ingredients.front().model;
  std::vector<std::string> parts;
  for (const ModelPart& part : first.parts) {
    if (std::ranges::find(frozen, part.name) != frozen.end()) {
      continue;
    }
    const auto differs = [&](const OpenIngredient& other) {
      const ModelPart* theirs = other.model.find(part.name);
      return theirs == nullptr || part_digest(other.model, *theirs) != part_digest(first, part);
    };
    if (!part.name.starts_with("text_encoder") || std::ranges::any_of(ingredients, differs)) {
      parts.push_back(part.name);
    }
  }
  return parts;
}

std::vector<std::string> chosen_parts(const std::vector<OpenIngredient>& ingredients, const MergeOptions& options) {
  const OpenIngredient& first = ingredients.front();
  for (const OpenIngredient& ingredient : ingredients) {
    if (ingredient.trained_parts != first.trained_parts) {
      throw DataError(ingredient.model.path, fmt::format("its trained parts are [{}], but those of {} are [{}]",
                                                         fmt::join(ingredient.trained_parts, ", "), first.entry.name,
                                                         fmt::join(first.trained_parts, ", ")));
    }
  }
  std::vector<std::string> parts = options.parts.value_or(first.trained_parts);
  if (parts.empty()) {
    parts = default_parts(ingredients);
  }
  std::ranges::sort(parts);
  for (const std::string& part : parts) {
    if (first.model.find(part) == nullptr) {
      throw ConfigError(fmt::format("there is no part {} to average in {}", part, first.model.path.string()));
    }
  }
  if (parts.empty()) {
    throw DataError(first.model.path, "it has no part to average");
  }
  return parts;
}

Ledger merge_folders(const std::vector<MergeInput>& inputs, const fs::path& output, const SoupScale& scale,
                     const MergeOptions& options) {
  std::vector<OpenIngredient> ingredients;
  std::vector<Origin> origins;
  for (const MergeInput& input : inputs) {
    ingredients.push_back(open_ingredient(input, {}));
    origins.push_back({input.path.string(), ingredients.back().entry.base_digest});
  }
  require_same_base(origins);
  const std::vector<std::string> parts = chosen_parts(ingredients, options);
  const OpenIngredient& first = ingredients.front();
  for (const OpenIngredient& other : ingredients) {
    require_same_model(first.model, first.entry.name, other.model, other.entry.name, parts);
  }

  SoupFolderWriter writer(output, first.model, parts, scale, inputs.size());
  Ledger ledger;
  ledger.base_digest = origins.front().base_digest;
  for (OpenIngredient& ingredient : ingredients) {
    std::map<std::string, LedgerPart> entries;
    for (const std::string& part : parts) {
      const auto known = ingredient.entry.parts.find(part);
      entries[part].digest = known != ingredient.entry.parts.end()
                                 ? known->second.digest
                                 : part_digest(ingredient.model, *ingredient.model.find(part));
    }
    ingredient.entry.parts = std::move(entries);
    ingredient.entry.path = fs::absolute(ingredient.model.path).lexically_relative(fs::absolute(output)).string();
  }
  for (const std::unique_ptr<SoupFolderWriter::File>& file : writer.files()) {
    std::vector<SafetensorsFile> files;
    for (const OpenIngredient& ingredient : ingredients) {
      files.emplace_back(ingredient.model.path / file->path);
      require_same_tensors(file->like, first.entry.name, files.back(), ingredient.entry.name);
    }
    std::vector<WeightedFile> terms;
    for (std::size_t i = 0; i < files.size(); ++i) {
      terms.push_back({&files[i], inputs[i].name, inputs[i].weight, 0.0});
    }
    stream_sum(terms, nullptr, scale, options.block_elements, file->writer);
    for (std::size_t i = 0; i < files.size(); ++i) {
      double& largest = ingredients[i].entry.parts[file->part].largest;
      largest = std::max(largest, terms[i].largest);
    }
  }
  for (OpenIngredient& ingredient : ingredients) {
    ledger.ingredients.push_back(std::move(ingredient.entry));
  }
  ledger.history = history_of(options, scale.total_weight);
  return writer.commit(std::move(ledger));
}

}  // namespace

OpenIngredient open_ingredient(const MergeInput& input, const std::vector<std::string>& parts) {
  OpenIngredient ingredient;
  ingredient.model = read_model_folder(input.path);
  ingredient.entry.name = input.name;
  ingredient.entry.weight = input.weight;
  const std::optional<IngredientRecord> record = find_ingredient_record(input.path);
  if (record) {
    ingredient.entry.base_digest = record->base_digest;
    ingredient.entry.data_root_digest = record->data_root_digest;
    ingredient.entry.config_digest = record->config_digest;
    ingredient.entry.images = record->images;
    ingredient.trained_parts = record->trained_parts;
    std::ranges::sort(ingredient.trained_parts);
  }
  for (const std::string& name : parts.empty() ? ingredient.trained_parts : parts) {
    const ModelPart* part = ingredient.model.find(name);
    if (part == nullptr) {
      throw DataError(input.path, fmt::format("it has no part {}", name));
    }
    const Digest digest = part_digest(ingredient.model, *part);
    if (record && record->weights.contains(name) && record->weights.at(name) != digest) {
      throw DataError(input.path,
                      fmt::format("the weights of {} have digest {}, but its {} says {}", name, digest.brief(),
                                  ingredient_record_name, record->weights.at(name).brief()),
                      "the files were changed after training");
    }
    ingredient.entry.parts[name].digest = digest;
  }
  return ingredient;
}

Ledger merge(const std::vector<MergeInput>& inputs, const fs::path& output, const MergeOptions& options) {
  const SoupScale scale{checked_total(inputs, options.scale_bits), options.scale_bits, options.keep_dtype};
  const auto is_folder = [](const MergeInput& input) { return fs::is_directory(input.path); };
  for (const MergeInput& input : inputs) {
    if (!fs::exists(input.path)) {
      throw DataError(input.path, "does not exist");
    }
    if (is_folder(input) != is_folder(inputs.front())) {
      throw ConfigError(fmt::format("{} and {} are not both files or both folders", inputs.front().path.string(),
                                    input.path.string()));
    }
    std::error_code error;
    if (fs::equivalent(input.path, output, error)) {
      throw ConfigError(fmt::format("the output {} is also an input", output.string()));
    }
  }
  return is_folder(inputs.front()) ? merge_folders(inputs, output, scale, options)
                                   : merge_plain_files(inputs, output, scale, options);
}

}  // namespace soup
