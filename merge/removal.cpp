// The certificate that `soup remove` writes: what it says, found out from the soups before and after.
#include "merge/removal.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <system_error>

#include "core/error.hpp"
#include "merge/block_loop.hpp"
#include "merge/inversion.hpp"
#include "merge/weights_digest.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

NotCovered pretraining(const RemovalFacts& facts) {
  NotCovered finding{"pretraining", {}};
  std::vector<std::string> frozen;
  for (const ModelPart& part : facts.model.parts) {
    if (!facts.before.parts.contains(part.name)) {
      finding.digests.emplace(part.name, part_digest(facts.model, part));
      frozen.push_back(part.name);
    }
  }
  if (facts.before.base_digest) {
    finding.digests.insert_or_assign("base", *facts.before.base_digest);
  }
  finding.text = fmt::format(
      "What the base had learned before {0} was trained is in every ingredient and stays: {1}. {2}. If images of {0} "
      "were among what these were pretrained on, only other pretrained weights take them out.",
      facts.removed.name,
      facts.before.base_digest ? "its digest is given as base" : "the ledger does not say which base it was",
      frozen.empty() ? "The soup has no frozen parts"
                     : fmt::format("Frozen parts are copied as they were pretrained: {}", fmt::join(frozen, ", ")));
  return finding;
}

std::string lookup_text(const ImageLookup& lookup, const std::string& name) {
  std::string text = fmt::format(
      "{} of the {} images in the shard files of {} are also, pixel for pixel, in those of remaining ingredients",
      lookup.exact, lookup.images, name);
  text += lookup.near ? fmt::format("; {} more look like an image there.", *lookup.near)
                      : "; near-duplicates were not looked for.";
  text +=
      " What the remaining ingredients learned from such images stays. All images of a file count, held out or not.";
  if (!lookup.not_looked_up.empty()) {
    std::vector<std::string> names;
    std::ranges::transform(lookup.not_looked_up, std::back_inserter(names), &ImageLookup::Unknown::ingredient);
    text += fmt::format(" Not looked up: {}.", fmt::join(names, ", "));
  }
  return text;
}

NotCovered same_images(const RemovalFacts& facts) {
  NotCovered finding{"same_images", {}};
  std::vector<IngredientShards> others;
  const IngredientShards* removed = nullptr;
  for (const IngredientShards& shards : facts.shards) {
    if (shards.ingredient == facts.removed.name) {
      removed = &shards;
    } else {
      others.push_back(shards);
    }
  }
  SOUP_REQUIRE(removed != nullptr, "the shards are not those of the soup before");
  std::string reason = removed->reason;
  if (!removed->files.empty()) {
    try {
      finding.lookup = look_up_images(*removed, others, facts.near);
      finding.text = lookup_text(*finding.lookup, facts.removed.name);
      return finding;
    } catch (const DataError& error) {
      reason = error.message();
    }
  }
  finding.text =
      fmt::format("Whether images of {} are also in the shards of remaining ingredients was not looked up: {}.",
                  facts.removed.name, reason);
  return finding;
}

NotCovered choices(const RemovalFacts& facts) {
  const bool uniform = facts.before.method() == "uniform";
  return {
      "choices",
      fmt::format("{0} What was chosen while {1} was in the soup, or its shard among the others, stays chosen: "
                  "{2}which ingredients there are, how long and at what rates they were trained, which of their "
                  "images were dropped as duplicates of images of {1}. The ledger does not record such choices; where "
                  "`soup search` made them, the search.json that it wrote does.",
                  uniform ? "All weights in the soup are equal, so none of them was fitted."
                          : "The weights in the soup are not all equal; where they were fitted to scores, those "
                            "that remain were fitted beside what is now removed.",
                  facts.removed.name, uniform ? "" : "the weights, ")};
}

NotCovered earlier_soups(const RemovalFacts& facts) {
  NotCovered finding{"earlier_soups", {}};
  // Backwards from the soup before, which held it.
  bool held = true;
  const std::vector<LedgerEvent>& history = facts.before.history;
  for (std::size_t entry = history.size(); entry-- > 0;) {
    const LedgerEvent& event = history[entry];
    if (held) {
      finding.soups.push_back(
          {static_cast<std::int64_t>(entry), event.action, event.ingredient, event.total_weight, event.time});
    }
    if (event.ingredient == facts.removed.name) {
      held = event.action == "removed";
    }
  }
  std::ranges::reverse(finding.soups);
  finding.text = fmt::format(
      "Soups made before still hold {}: {} in this soup's history alone. A copy of one that was published, or handed "
      "on, is not changed by this removal, and together with the new soup it gives {} away (see inversion).",
      facts.removed.name, finding.soups.size(), facts.removed.name);
  return finding;
}

NotCovered copies(const RemovalFacts& facts) {
  return {"copies",
          fmt::format("Nothing outside the soup's folder was touched: the ingredient itself ({}), its checkpoints, "
                      "optimiser states and averaged weights, cached images and latents, logs, samples, scores and "
                      "backups, and the shard files.",
                      facts.removed.path.empty() ? "its place is not recorded" : facts.removed.path)};
}

void measure(const RemovalFacts& facts, const Ledger& after, const fs::path& folder_after, Certificate& certificate) {
  const fs::path source = (facts.soup_folder / facts.removed.path).lexically_normal();
  std::error_code ignored;
  if (!fs::exists(source, ignored)) {
    certificate.not_measured = "the removed ingredient's weights are not here";
    return;
  }
  const ModelFolder model_after = open_model(folder_after);
  std::vector<std::unique_ptr<Weights>> open;
  std::vector<InversionPart> parts;
  try {
    ModelFolder ingredient = open_model(source);
    lend_averages(facts.model, ingredient);
    for (const auto& [name, digest] : after.parts) {
      const ModelPart* part = ingredient.find(name);
      if (part == nullptr) {
        certificate.not_measured = fmt::format("what is now in {} has no part {}", source.string(), name);
        return;
      }
      open.push_back(std::make_unique<Weights>(open_part(ingredient, *part)));
      if (!facts.subtracted && weights_digest(*open.back()) != facts.removed.parts.at(name).digest) {
        certificate.not_measured =
            fmt::format("the weights now in {} are not those that were removed", source.string());
        return;
      }
    }
  } catch (const DataError& error) {
    certificate.not_measured = error.message();
    return;
  }
  std::size_t number = 0;
  for (const auto& [name, digest] : after.parts) {
    const auto opened = [&](const ModelFolder& model) {
      open.push_back(std::make_unique<Weights>(open_part(model, *model.find(name))));
      return open.back().get();
    };
    const Weights* before = opened(facts.model);
    parts.push_back({before, opened(model_after), open[number++].get()});
  }
  certificate.inversion = measure_inversion(parts, facts.before.total_weight, facts.removed.weight, usable_threads());
}

}  // namespace

Certificate describe_removal(const RemovalFacts& facts, const Ledger& after, const fs::path& soup_folder_after) {
  Certificate certificate;
  certificate.program = program_version();
  certificate.time = utc_now();
  certificate.how = facts.subtracted ? "subtracted" : "made anew";
  certificate.removed = facts.removed.name;
  certificate.before = facts.before;
  certificate.after = after;
  certificate.not_covered = {pretraining(facts), same_images(facts), choices(facts), earlier_soups(facts),
                             copies(facts)};
  measure(facts, after, soup_folder_after, certificate);
  return certificate;
}

std::string inversion_text(const Certificate& certificate) {
  std::string exactly = fmt::format("how exactly was not measured: {}", certificate.not_measured);
  if (certificate.inversion) {
    const std::optional<double> relative = certificate.inversion->relative_error();
    exactly = relative ? fmt::format("to a relative error of {:.1e}", *relative)
                       : "though here they equal those of the soup that remains";
  }
  return fmt::format(
      "who has the soups before and after has {0}: (N*S_N - (N-n)*S_(N-n)) / n gives its weights, {1}. Where a soup "
      "with "
      "{0} was published, publishing this one publishes {0}.",
      certificate.removed, exactly);
}

void keep_certificates(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (!fs::is_directory(from / removals_folder, error)) {
    return;
  }
  fs::copy(from / removals_folder, to / removals_folder, fs::copy_options::recursive, error);
  if (error) {
    throw DataError(to / removals_folder, "the earlier certificates cannot be copied here: " + error.message());
  }
}

}  // namespace soup
