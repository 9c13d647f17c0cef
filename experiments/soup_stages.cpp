// The stages that make soups of the run's ingredients.
#include "experiments/soup_stages.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "core/error.hpp"
#include "experiments/missing.hpp"
#include "merge/compatibility.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/ledger.hpp"
#include "merge/soup.hpp"
#include "merge/soup_folder_writer.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// One ingredient as every rank knows it: small records, no weights.
struct Term {
  std::size_t shard = 0;
  std::string name;
  std::int64_t weight = 1;
  fs::path folder;
  IngredientRecord record;
};

std::vector<Term> terms_of(const RunContext& context, const Stage& soup) {
  std::vector<Term> terms;
  for (const Stage* stage : context.of_kind(StageKind::ingredient)) {
    if (std::ranges::find(soup.inputs, stage->name) == soup.inputs.end()) {
      continue;
    }
    const ShardSpec& shard = shard_of(*stage, context.experiment);
    const fs::path folder = context.folder_of(*stage);
    terms.push_back({stage->shard, shard.name, shard.weight, folder, read_ingredient_record(folder)});
  }
  return terms;
}

// Common origin or no soup: base, trained parts, and the frozen parts' weights.
void check_origin(const std::vector<Term>& terms) {
  const Term& first = terms.front();
  std::vector<Origin> origins;
  for (const Term& term : terms) {
    origins.push_back({term.name, term.record.base_digest});
    if (term.record.trained_parts != first.record.trained_parts) {
      throw DataError(term.folder, fmt::format("trained [{}], but ingredient {} trained [{}]",
                                               fmt::join(term.record.trained_parts, ", "), first.name,
                                               fmt::join(first.record.trained_parts, ", ")));
    }
    for (const auto& [part, digest] : term.record.weights) {
      const bool trained = std::ranges::find(term.record.trained_parts, part) != term.record.trained_parts.end();
      const auto other = first.record.weights.find(part);
      if (other == first.record.weights.end() || (!trained && other->second != digest)) {
        throw DataError(term.folder,
                        fmt::format("frozen part {} has digest {} here and {} in ingredient {}", part, digest.brief(),
                                    other == first.record.weights.end() ? "none" : other->second.brief(), first.name));
      }
    }
  }
  require_same_base(origins);
}

LedgerIngredient entry_of(const Term& term, const fs::path& soup_folder) {
  LedgerIngredient entry;
  entry.name = term.name;
  entry.weight = term.weight;
  entry.base_digest = term.record.base_digest;
  entry.data_root_digest = term.record.data_root_digest;
  entry.config_digest = term.record.config_digest;
  entry.images = term.record.images;
  entry.path = fs::absolute(term.folder).lexically_relative(fs::absolute(soup_folder)).string();
  for (const std::string& part : term.record.trained_parts) {
    entry.parts[part].digest = term.record.weights.at(part);
  }
  return entry;
}

// Who brings what to one part of a soup, the same on all ranks of a group.
struct Brought {
  std::vector<std::unique_ptr<Weights>> files;
  std::vector<SoupIngredient> ingredients;
  std::vector<SoupIngredient> without;
};

// Names in the sums of each group, by group.
std::vector<std::vector<std::string>> names_in_sums(const RunContext& context, const PartialSums* sums) {
  nlohmann::json names = nlohmann::json::array();
  if (sums != nullptr && context.topology.rank_in_group == 0) {
    for (const SoupTerm& term : sums->terms()) {
      names.push_back(term.name);
    }
  }
  const std::vector<std::string> of_rank = all_gather_text(*context.world, names.dump());
  std::vector<std::vector<std::string>> of_group;
  for (int group = 0; group < context.topology.groups(); ++group) {
    const auto first = static_cast<std::size_t>(context.topology.first_rank(group));
    of_group.push_back(nlohmann::json::parse(of_rank[first]).get<std::vector<std::string>>());
  }
  return of_group;
}

Brought bring(const RunContext& context, const std::vector<Term>& terms, const std::string& part,
              const TensorLayout& layout, const std::vector<std::vector<std::string>>& summed) {
  Brought brought;
  const auto read = [&](const std::string& name, std::int64_t weight, const fs::path& folder) -> SoupIngredient {
    brought.files.push_back(std::make_unique<Weights>(weights_of(folder, part)));
    return {name, weight, from_weights(*brought.files.back(), layout)};
  };
  const auto is_in = [](const std::vector<std::string>& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
  };
  const auto own_group = static_cast<std::size_t>(context.topology.group);
  std::size_t turn = 0;
  for (const Term& term : terms) {
    if (std::ranges::any_of(summed, [&](const auto& names) { return is_in(names, term.name); })) {
      continue;
    }
    if (turn++ % summed.size() == own_group) {
      brought.ingredients.push_back(read(term.name, term.weight, term.folder));
    }
  }
  for (const Stage* stage : context.of_kind(StageKind::ingredient)) {
    const ShardSpec& shard = shard_of(*stage, context.experiment);
    if (is_in(summed[own_group], shard.name) && std::ranges::find(terms, shard.name, &Term::name) == terms.end()) {
      brought.without.push_back(read(shard.name, shard.weight, context.folder_of(*stage)));
    }
  }
  return brought;
}

Digest make_one(const RunContext& context, const Stage& stage, const IngredientSums& sums) {
  Communicator& world = *context.world;
  const fs::path folder = context.folder_of(stage);
  const std::vector<Term> terms = agreed(world, [&] {
    std::vector<Term> read = terms_of(context, stage);
    check_origin(read);
    return read;
  });
  std::int64_t total_weight = 0;
  Ledger ledger;
  ledger.base_digest = terms.front().record.base_digest;
  for (const Term& term : terms) {
    total_weight += term.weight;
    ledger.ingredients.push_back(entry_of(term, folder));
  }
  const std::vector<std::string>& parts = terms.front().record.trained_parts;
  const bool writes = world.rank() == 0;
  std::unique_ptr<SoupFolderWriter> writer;
  agreed(world, [&] {
    if (writes) {
      SoupForm form;
      form.scale.total_weight = total_weight;
      form.scale.scale_bits = context.experiment.soup.scale_bits;
      writer = std::make_unique<SoupFolderWriter>(folder, open_model(terms.front().folder), parts, form, terms.size());
    }
  });
  for (const std::string& part : parts) {
    // Names and shapes from the first ingredient; make_soup checks that all agree.
    const TensorLayout layout = agreed(world, [&] { return layout_of(weights_of(terms.front().folder, part)); });
    const PartialSums* of_part = sums.find(part);
    const std::vector<std::vector<std::string>> summed = names_in_sums(context, of_part);
    const Brought brought = agreed(world, [&] { return bring(context, terms, part, layout, summed); });
    const SoupTotals totals =
        make_soup({.all = world, .group = *context.group, .across = *context.across}, layout,
                  ledger.base_digest.value_or(Digest{}),
                  {.ingredients = brought.ingredients, .sums = of_part, .without = brought.without},
                  soup_options(context.experiment), writes ? writer->sink(layout, part) : BucketSink());
    for (LedgerIngredient& entry : ledger.ingredients) {
      for (const SoupTerm& term : totals.ingredients) {
        if (term.name == entry.name) {
          entry.parts[part].largest = term.largest;
        }
      }
    }
  }
  ledger.history = {{"made", "", total_weight, utc_now()}};
  for (const MissingIngredient& missing : read_missing(context.experiment)) {
    ledger.history.front().missing[missing.shard] = missing.reason;
  }
  return agreed(world, [&] { return writes ? writer->commit(ledger).soup_digest() : Digest{}; });
}

}  // namespace

bool is_a_soup_open(const RunContext& context) {
  std::int64_t open = agreed(*context.world, [&]() -> std::int64_t {
    return std::ranges::any_of(context.of_kind(StageKind::soup), [&](const Stage* stage) {
      return !is_done(*stage, context.stages, context.experiment.run_folder);
    });
  });
  context.world->broadcast(std::as_writable_bytes(std::span(&open, 1)), 0);
  return open != 0;
}

void run_soups(const RunContext& context, const IngredientSums& sums) {
  for (const Stage* stage : context.of_kind(StageKind::soup)) {
    run_stage(context, *stage, *context.world,
              [&](const Digest&) -> StageResult { return {make_one(context, *stage, sums)}; });
  }
}

}  // namespace soup
