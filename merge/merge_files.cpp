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
#include "core/text.hpp"
#include "merge/block_loop.hpp"
#include "merge/compatibility.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/merge_parts.hpp"
#include "merge/open_ingredients.hpp"
#include "merge/soup_folder_writer.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

void require_names(const std::vector<MergeInput>& inputs) {
  if (inputs.empty()) {
    throw ConfigError("a soup needs at least one ingredient");
  }
  std::set<std::string> names;
  for (const MergeInput& input : inputs) {
    constexpr std::size_t longest_name = 255;
    if (input.name.empty() || input.name.size() > longest_name || !is_utf8(input.name)) {
      throw ConfigError(fmt::format("\"{}\" is no name for an ingredient", input.name.substr(0, 80)),
                        "names are UTF-8 of 1 to 255 bytes; give one with NAME=PATH");
    }
    if (!names.insert(input.name).second) {
      throw ConfigError(fmt::format("two ingredients are named \"{}\"", input.name), "give each input its own name");
    }
  }
}

std::int64_t checked_total(const std::vector<MergeInput>& inputs, int scale_bits) {
  std::int64_t total = 0;
  for (const MergeInput& input : inputs) {
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

std::optional<Digest> base_in_metadata(const Weights& weights) {
  const auto found = weights.metadata().find("soup.base");
  if (found == weights.metadata().end() || found->second.empty()) {
    return std::nullopt;
  }
  try {
    return Digest::from_hex(found->second);
  } catch (const ConfigError&) {
    throw DataError(weights.path(), fmt::format("metadata soup.base is \"{}\", not a SHA-256 digest", found->second));
  }
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
    if (!ingredient.is_origin() && ingredient.trained_parts != first.trained_parts) {
      throw DataError(ingredient.model.source, fmt::format("its trained parts are [{}], but those of {} are [{}]",
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
      throw ConfigError(fmt::format("there is no part {} to average in {}", part, first.model.source.string()));
    }
  }
  if (parts.empty()) {
    throw DataError(first.model.source, "it has no part to average");
  }
  return parts;
}

// Bytes read so far over all parts.
class ReadProgress {
 public:
  // `bytes`: of all parts of one ingredient.
  ReadProgress(const MergeWork& work, std::size_t ingredients, std::uint64_t bytes)
      : report_(work.progress), ingredients_(ingredients), total_(bytes * ingredients) {}

  // For the sum of a part whose ingredients have so many bytes each.
  std::function<void(std::uint64_t)> of_part(std::uint64_t bytes) {
    const std::uint64_t before = done_;
    done_ += bytes * ingredients_;
    return [this, before](std::uint64_t done) {
      if (report_) {
        report_(before + done * ingredients_, total_);
      }
    };
  }

 private:
  std::function<void(std::uint64_t, std::uint64_t)> report_;
  std::uint64_t ingredients_;
  std::uint64_t total_;
  std::uint64_t done_ = 0;
};

// What the sum of a part found out, into the ingredients' entries.
void note_outcome(const SumOutcome& outcome, const std::string& part, std::vector<OpenIngredient>& ingredients) {
  for (std::size_t i = 0; i < ingredients.size(); ++i) {
    const SumOutcome::Term& term = outcome.terms[i];
    if (term.digest) {
      require_known_weights(ingredients[i], part, *term.digest);
    }
    ingredients[i].entry.parts[part] = {term.digest.value_or(Digest{}), term.largest};
  }
}

void move_entries(std::vector<OpenIngredient>& ingredients, Ledger& ledger) {
  for (OpenIngredient& ingredient : ingredients) {
    if (ledger.blend && ingredient.is_base) {
      ledger.base = std::move(ingredient.entry);
    } else {
      ledger.ingredients.push_back(std::move(ingredient.entry));
    }
  }
  std::ranges::sort(ledger.ingredients, {}, &LedgerIngredient::name);
}

// Room for rules in a header: a weight has up to 24 characters, and a name up to six each, twice escaped.
std::size_t rules_bytes(const std::vector<WeightRule>& rules) {
  std::size_t bytes = 0;
  for (const WeightRule& rule : rules) {
    bytes += 64 + 6 * rule.pattern.size();
    for (const auto& [name, weight] : rule.weights) {
      bytes += 40 + 6 * name.size();
    }
  }
  return bytes;
}

Ledger merge_to_file(std::vector<OpenIngredient>& ingredients, const std::string& part, const fs::path& output,
                     const SoupForm& form, const MergeOptions& options, Ledger ledger) {
  const OpenPart open = open_part(ingredients, part, options);
  ReadProgress progress(options.work, ingredients.size(), open.weights.front().bytes());
  AtomicPath path(output);
  const FileLayout layout = in_one_file(path.partial().filename(), open.weights.front().tensors().size());
  // The ledger stands in the metadata as one text, about as large as provenance itself.
  SoupWriter writer(path.partial().parent_path(), layout, open.weights.front(), form.scale, AccumulatorKind::none,
                    2 * provenance_bytes(ingredients.size()) + rules_bytes(options.rules));
  const SumOutcome outcome =
      merge_part(ingredients, open, options, progress.of_part(open.weights.front().bytes()), writer);
  note_outcome(outcome, part, ingredients);
  move_entries(ingredients, ledger);
  ledger.parts.emplace(part, outcome.soup.value_or(Digest{}));
  if (options.work.digests) {
    std::map<std::string, std::string> metadata = provenance(ledger);
    metadata["soup.ledger"] = to_json(ledger).dump();  // without history: equal inputs give equal files
    writer.set_metadata(metadata);
  } else {
    writer.set_metadata({{"format", "pt"}});
  }
  path.commit(options.work.sync);
  ledger.history = history_of(options, form.scale.total_weight);
  return ledger;
}

Ledger merge_to_folder(std::vector<OpenIngredient>& ingredients, const std::vector<std::string>& parts,
                       const fs::path& output, const SoupForm& form, const MergeOptions& options, Ledger ledger) {
  SoupFolderWriter writer(output, ingredients.front().model, parts, form, ingredients.size());
  std::uint64_t bytes = 0;
  for (const std::unique_ptr<SoupFolderWriter::Part>& part : writer.parts()) {
    bytes += part->like.bytes();
  }
  ReadProgress progress(options.work, ingredients.size(), bytes);
  for (const std::unique_ptr<SoupFolderWriter::Part>& part : writer.parts()) {
    const OpenPart open = open_part(ingredients, part->name, options);
    const SumOutcome outcome =
        merge_part(ingredients, open, options, progress.of_part(part->like.bytes()), part->writer);
    note_outcome(outcome, part->name, ingredients);
    part->digest = outcome.soup;
    part->accumulator_digest = outcome.accumulator;
  }
  move_entries(ingredients, ledger);
  ledger.history = history_of(options, form.scale.total_weight);
  return writer.commit(std::move(ledger), options.work.sync, options.finish_folder);
}

// Whether `inner` is `outer` or lies in it, through links and however they are written.
bool is_within(const fs::path& inner, const fs::path& outer) {
  std::error_code error;
  const fs::path a = fs::weakly_canonical(inner, error);
  const fs::path b = fs::weakly_canonical(outer, error);
  const fs::path relative = a.lexically_relative(b);
  return !relative.empty() && *relative.begin() != "..";
}

// The inputs of a merge that nothing speaks against.
struct CheckedInputs {
  std::vector<OpenIngredient> ingredients;
  std::vector<std::string> parts;  // to average
  std::int64_t total_weight = 0;   // 0 for a method that is no mean
};

CheckedInputs checked_inputs(const std::vector<MergeInput>& inputs, const MergeOptions& options) {
  CheckedInputs checked;
  require_names(inputs);
  checked.total_weight = options.method ? 0 : checked_total(inputs, options.scale_bits);
  checked.ingredients = open_ingredients(inputs, options);
  checked.parts = chosen_parts(checked.ingredients, options);
  require_usable(checked.ingredients, checked.parts, options);
  const OpenIngredient& first = checked.ingredients.front();
  for (const OpenIngredient& other : checked.ingredients) {
    require_same_model(first.model, first.entry.name, other.model, other.entry.name, checked.parts);
  }
  return checked;
}

}  // namespace

void require_free_output(const std::vector<MergeInput>& inputs, const fs::path& output, bool overwrite) {
  for (const MergeInput& input : inputs) {
    if (is_within(input.path, output)) {
      throw ConfigError(
          fmt::format("the output {} is also an input, or contains one: {}", output.string(), input.path.string()),
          "give the soup a name of its own");
    }
  }
  if (!overwrite && fs::exists(fs::symlink_status(output))) {
    throw ConfigError(fmt::format("the output {} exists already", output.string()),
                      "give another name, or --overwrite to replace it");
  }
}

OpenIngredient open_ingredient(const MergeInput& input, const std::string& variant) {
  OpenIngredient ingredient;
  ingredient.model = open_model(input.path, variant);
  ingredient.entry.name = input.name;
  ingredient.entry.weight = input.weight;
  ingredient.entry.asked_weight = input.asked;
  ingredient.expected = input.expected;
  ingredient.is_base = input.is_base;
  if (!ingredient.model.is_folder()) {
    ingredient.entry.base_digest = base_in_metadata(open_part(ingredient.model, ingredient.model.parts.front()));
    return ingredient;
  }
  if (const std::optional<IngredientRecord> record = find_ingredient_record(input.path)) {
    ingredient.recorded_as_base = record->kind == ModelKind::base;
    ingredient.entry.base_digest = record->base_digest;
    ingredient.entry.data_root_digest = record->data_root_digest;
    ingredient.entry.config_digest = record->config_digest;
    ingredient.entry.images = record->images;
    ingredient.recorded = record->weights;
    ingredient.trained_parts = record->trained_parts;
    std::ranges::sort(ingredient.trained_parts);
  }
  return ingredient;
}

void require_known_weights(const OpenIngredient& ingredient, const std::string& part, const Digest& found) {
  const auto recorded = ingredient.recorded.find(part);
  if (recorded != ingredient.recorded.end() && recorded->second != found) {
    throw DataError(ingredient.model.source,
                    fmt::format("the weights of {} have digest {}, but its {} says {}", part, found.brief(),
                                ingredient_record_name, recorded->second.brief()),
                    "the files were changed after training");
  }
  const auto expected = ingredient.expected.find(part);
  if (expected != ingredient.expected.end() && expected->second != found) {
    throw DataError(ingredient.model.source,
                    fmt::format("the weights of {} have digest {}, but those that went into the soup {}", part,
                                found.brief(), expected->second.brief()),
                    "a soup can only be changed by the very weights it was made of");
  }
}

MergeExtent check_merge(const std::vector<MergeInput>& inputs, const MergeOptions& options) {
  const CheckedInputs checked = checked_inputs(inputs, options);
  MergeExtent extent{checked.parts, 0};
  for (const std::string& part : checked.parts) {
    extent.bytes += open_part(checked.ingredients, part, options).weights.front().bytes();
  }
  return extent;
}

Ledger merge(const std::vector<MergeInput>& inputs, const fs::path& output, const MergeOptions& options) {
  require_free_output(inputs, output, options.work.overwrite);
  CheckedInputs checked = checked_inputs(inputs, options);
  std::vector<OpenIngredient>& ingredients = checked.ingredients;
  const std::vector<std::string>& parts = checked.parts;
  const std::int64_t total = checked.total_weight;
  const OpenIngredient& first = ingredients.front();
  for (OpenIngredient& ingredient : ingredients) {
    ingredient.entry.path = fs::absolute(ingredient.model.source).lexically_relative(fs::absolute(output)).string();
  }

  SoupForm form{{total, options.scale_bits, options.dtype}, options.accumulator, options.shard_bytes};
  Ledger ledger;
  if (options.method) {
    ledger.blend = complete(*options.method);
    form.scale.scale_bits = 0;
    form.accumulator = AccumulatorKind::none;  // there are no sums
  }
  ledger.rules = options.rules;
  ledger.program = program_version();
  ledger.scale_bits = form.scale.scale_bits;
  ledger.total_weight = total;
  ledger.dtype = ledger_dtype(form.scale.dtype);
  ledger.base_digest = first.entry.base_digest;
  if (output.extension() == ".safetensors") {
    if (parts.size() != 1 || first.model.parts.size() != 1 || options.shard_bytes) {
      throw ConfigError(fmt::format("{} is one file, but {}", output.string(),
                                    options.shard_bytes ? "shards are asked for" : "the models have several parts"),
                        "give --output a folder, a name that does not end in .safetensors");
    }
    return merge_to_file(ingredients, parts.front(), output, form, options, std::move(ledger));
  }
  if (!options.work.digests) {
    throw ConfigError("a soup in a folder has a ledger, which needs digests",
                      "--no-digests is for a soup in one .safetensors file");
  }
  return merge_to_folder(ingredients, parts, output, form, options, std::move(ledger));
}

}  // namespace soup
