// The stages that make soups of the run's ingredients.
#include "experiments/soup_stages.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <optional>

#include "core/error.hpp"
#include "experiments/training_stages.hpp"
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

// This rank brings the ingredients its group trained: the group's first rank, so that each comes once.
bool is_mine(const RunContext& context, const Term& term) {
  const std::size_t group = term.shard % static_cast<std::size_t>(context.topology.groups);
  return static_cast<int>(group) == context.topology.group && context.topology.rank_in_group == 0;
}

TensorLayout layout_of(const Weights& weights) {
  TensorLayout layout;
  for (const WeightTensor& tensor : weights.tensors()) {
    layout.append(tensor.name, tensor.shape);
  }
  return layout;
}

Weights weights_of(const fs::path& folder, const std::string& part) {
  const ModelFolder model = open_model(folder);
  const ModelPart* found = model.find(part);
  if (found == nullptr) {
    throw DataError(folder / part, "holds no weights");
  }
  return open_part(model, *found);
}

Digest make_one(const RunContext& context, const Stage& stage, Communicator& world) {
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
  SoupOptions options;
  options.scale_bits = context.experiment.soup.scale_bits;
  for (const std::string& part : parts) {
    // Names and shapes from the first ingredient; make_soup checks that all agree.
    const TensorLayout layout = agreed(world, [&] { return layout_of(weights_of(terms.front().folder, part)); });
    std::vector<std::unique_ptr<Weights>> files;
    std::vector<SoupIngredient> mine;
    agreed(world, [&] {
      for (const Term& term : terms) {
        if (is_mine(context, term)) {
          files.push_back(std::make_unique<Weights>(weights_of(term.folder, part)));
          mine.push_back({term.name, term.weight, from_weights(*files.back(), layout)});
        }
      }
    });
    const BucketSink sink = writes ? writer->sink(layout, part) : BucketSink([](auto, auto, auto) {});
    const SoupTotals totals = make_soup(world, layout, ledger.base_digest.value_or(Digest{}), mine, options, sink);
    for (LedgerIngredient& entry : ledger.ingredients) {
      for (const SoupTerm& term : totals.ingredients) {
        if (term.name == entry.name) {
          entry.parts[part].largest = term.largest;
        }
      }
    }
  }
  ledger.history = {{"made", "", total_weight, utc_now()}};
  return agreed(world, [&] { return writes ? writer->commit(ledger).soup_digest() : Digest{}; });
}

}  // namespace

void run_soups(const RunContext& context) {
  for (const Stage* stage : context.of_kind(StageKind::soup)) {
    run_stage(context, *stage, *context.world,
              [&](const Digest&) -> StageResult { return {make_one(context, *stage, *context.world)}; });
  }
}

}  // namespace soup
