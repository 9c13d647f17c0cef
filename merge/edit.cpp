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
#include "merge/block_loop.hpp"
#include "merge/compatibility.hpp"
#include "merge/fixed_point.hpp"
#include "merge/removal.hpp"
#include "merge/soup_folder_writer.hpp"
#include "merge/streamed_sum.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

struct OpenSoup {
  fs::path path;
  ModelFolder model;
  Ledger ledger;
  std::vector<std::string> parts;  // averaged

  [[nodiscard]] SoupScale scale() const { return {ledger.total_weight, ledger.scale_bits, soup_dtype_of(ledger)}; }
  // An ingredient's model, as the ledger gives it relative to the soup.
  [[nodiscard]] fs::path model_of(const LedgerIngredient& ingredient) const {
    return (path / ingredient.path).lexically_normal();
  }
  [[nodiscard]] bool has_accumulator() const {
    return ledger.accumulator.kind != AccumulatorKind::none && fs::exists(path / accumulator_folder);
  }
  [[nodiscard]] Weights accumulator_of(const ModelPart& part) const {
    return open_part_below(path / accumulator_folder, part.name, part.files);
  }
};

OpenSoup open_soup(const fs::path& folder) {
  Ledger ledger = read_ledger(folder);
  if (ledger.blend || !ledger.rules.empty()) {
    throw ConfigError(
        fmt::format("{} was made by {}: ingredients can be added to and removed from an exact mean only",
                    folder.string(),
                    ledger.blend ? fmt::format("method {}", ledger.blend->name) : "a mean with weights by tensor"),
        "make it anew from its inputs, without or with the one in question: soup merge --recipe, with the method, "
        "parameters and rules in its ledger");
  }
  OpenSoup soup{folder, open_model(folder), std::move(ledger), {}};
  for (const auto& [name, digest] : soup.ledger.parts) {
    if (soup.model.find(name) == nullptr) {
      throw DataError(folder, fmt::format("its ledger names part {}, but there is no such part", name));
    }
    soup.parts.push_back(name);
  }
  return soup;
}

// The soup's ingredient as a merge's input, whose weights must be those that went into the soup.
MergeInput input_of(const OpenSoup& soup, const LedgerIngredient& entry) {
  MergeInput input{entry.name, soup.model_of(entry), entry.weight, {}, entry.asked_weight};
  for (const auto& [name, part] : entry.parts) {
    input.expected.emplace(name, part.digest);
  }
  return input;
}

// Makes the soup anew from its ingredients' models, with the history given.
Ledger make_anew(const OpenSoup& soup, const std::vector<LedgerIngredient>& kept, std::vector<MergeInput> inputs,
                 std::vector<LedgerEvent> history, const fs::path& output, const FinishFolder& finish_folder) {
  std::vector<std::string> missing;
  for (const LedgerIngredient& entry : kept) {
    inputs.push_back(input_of(soup, entry));
    if (!fs::exists(inputs.back().path)) {
      missing.push_back(inputs.back().path.string());
    }
  }
  if (!missing.empty()) {
    throw DataError(
        soup.path,
        fmt::format("it has no usable accumulator, and cannot be made anew without {}", fmt::join(missing, ", ")),
        "the ledger gives the ingredients' models relative to the soup's folder");
  }
  MergeOptions options;
  options.scale_bits = soup.ledger.scale_bits;
  options.dtype = soup.scale().dtype;
  options.accumulator = soup.ledger.accumulator.kind;
  options.parts = soup.parts;
  options.history = std::move(history);
  options.finish_folder = finish_folder;
  options.work.overwrite = true;
  return merge(inputs, output, options);
}

// What was read must be what the ledger says, or the sums of the new soup mean nothing.
void require_promised(const OpenSoup& soup, const std::string& part, const SumOutcome& outcome) {
  const auto require = [&](const std::string& what, const Digest& found, const Digest& promised) {
    if (found != promised) {
      throw DataError(
          soup.path,
          fmt::format("{} of {} has digest {}, but its ledger says {}", what, part, found.brief(), promised.brief()),
          "the files were changed after the soup was made");
    }
  };
  require("the soup", *outcome.start_soup, soup.ledger.parts.at(part));
  require("the accumulator", *outcome.start_accumulator, soup.ledger.accumulator.parts.at(part));
}

// The soup plus `signed_weight` times one ingredient, from the accumulator: one read and one write of one model. `next`
// has the history that the new soup will have, and its ingredients, a new one without parts.
Ledger change_sums(const OpenSoup& soup, const OpenIngredient& ingredient, std::int64_t signed_weight, Ledger next,
                   const fs::path& output, const FinishFolder& finish_folder) {
  SoupScale scale = soup.scale();
  scale.total_weight += signed_weight;
  require_same_model(soup.model, "the soup", ingredient.model, ingredient.entry.name, soup.parts);
  const SoupForm form{scale, soup.ledger.accumulator.kind, {}};
  SoupFolderWriter writer(output, soup.model, soup.parts, form, next.ingredients.size());
  std::map<std::string, LedgerPart> brought;
  for (const std::unique_ptr<SoupFolderWriter::Part>& part : writer.parts()) {
    const Weights weights = open_part(ingredient.model, *ingredient.model.find(part->name));
    const Weights accumulator = soup.accumulator_of(*soup.model.find(part->name));
    require_same_tensors(part->like, "the soup", weights, ingredient.entry.name, FloatTypes::any);
    const SumStart start{&accumulator, &part->like, soup.scale()};
    const std::array<SumTerm, 1> terms{SumTerm{&weights, ingredient.entry.name, signed_weight}};
    SumOptions options;
    options.threads = usable_threads();
    const SumOutcome outcome = stream_sum(terms, &start, options, part->writer);
    require_promised(soup, part->name, outcome);
    require_known_weights(ingredient, part->name, *outcome.terms.front().digest);
    brought[part->name] = {*outcome.terms.front().digest, outcome.terms.front().largest};
    part->digest = outcome.soup;
    part->accumulator_digest = outcome.accumulator;
  }
  const auto digest_of = [](const auto& part) { return part.second.digest; };
  for (LedgerIngredient& entry : next.ingredients) {
    const bool is_new = entry.name == ingredient.entry.name;
    if (is_new) {
      entry.parts = brought;
    } else if (signed_weight > 0 && std::ranges::equal(entry.parts, brought, {}, digest_of, digest_of)) {
      throw ConfigError(fmt::format("the weights of {} are already in the soup, as ingredient {}",
                                    ingredient.model.source.string(), entry.name));
    }
    // Paths stand relative to the soup's folder, which may be a new one.
    const fs::path model = is_new ? ingredient.model.source : soup.model_of(entry);
    entry.path =
        fs::absolute(model).lexically_normal().lexically_relative(fs::absolute(output).lexically_normal()).string();
  }
  return writer.commit(std::move(next), Sync::yes, finish_folder);
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

void require_parts(const OpenIngredient& ingredient, const OpenSoup& soup) {
  for (const std::string& part : soup.parts) {
    if (ingredient.model.find(part) == nullptr) {
      throw DataError(ingredient.model.source, fmt::format("it has no part {}, which the soup averages", part));
    }
  }
}

// An ingredient that is in the soup. Where it is the base that the soup is pulled back to, it lent its averages, too;
// its weights are checked against the ledger's digests.
OpenIngredient open_part_of(const OpenSoup& soup, const MergeInput& input) {
  OpenIngredient ingredient = open_ingredient(input);
  lend_averages(soup.model, ingredient.model);
  require_parts(ingredient, soup);
  return ingredient;
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
  const OpenIngredient ingredient = open_ingredient(input);
  const std::array<Origin, 2> origins{Origin{soup_folder.string(), soup.ledger.base_digest},
                                      Origin{input.path.string(), ingredient.entry.base_digest}};
  require_same_base(origins);
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
  require_parts(ingredient, soup);
  const auto finish_folder = [&](Ledger&, const fs::path& folder) { keep_certificates(soup_folder, folder); };
  if (!soup.has_accumulator()) {
    return make_anew(soup, soup.ledger.ingredients, {input}, next.history, target, finish_folder);
  }
  next.ingredients.push_back(ingredient.entry);
  std::ranges::sort(next.ingredients, {}, &LedgerIngredient::name);
  return change_sums(soup, ingredient, input.weight, std::move(next), target, finish_folder);
}

Removal remove_ingredient(const fs::path& soup_folder, const std::string& name, const fs::path& output,
                          const RemovalOptions& options) {
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
  const MergeInput input = input_of(soup, removed);
  const bool subtracts = soup.has_accumulator() && fs::exists(input.path);
  const RemovalFacts facts{soup_folder, soup.model, soup.ledger,
                           removed,     subtracts,  shards_of(soup.ledger, soup_folder, options.data),
                           options.near};
  Removal removal;
  const std::size_t entry = soup.ledger.history.size();
  removal.certificate_file = target / certificate_file(entry, name);
  const auto finish_folder = [&](Ledger& ledger, const fs::path& folder) {
    removal.certificate = describe_removal(facts, ledger, folder);
    if (options.key) {
      sign(removal.certificate, *options.key);
    }
    keep_certificates(soup_folder, folder);
    fs::create_directories(folder / removals_folder);
    write_certificate(folder / certificate_file(entry, name), removal.certificate);
    ledger.history.back().certificate = certificate_digest(removal.certificate);
  };
  removal.ledger =
      subtracts ? change_sums(soup, open_part_of(soup, input), -removed.weight, std::move(next), target, finish_folder)
                : make_anew(soup, next.ingredients, {}, next.history, target, finish_folder);
  return removal;
}

}  // namespace soup
