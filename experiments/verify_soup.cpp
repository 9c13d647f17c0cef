// Verification of soups: weights, accumulator, and the soup made again.
#include "experiments/verify_soup.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/scratch_folder.hpp"
#include "merge/block_loop.hpp"
#include "merge/merge_files.hpp"
#include "merge/soup_sums.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

const ModelPart& part_of(const ModelFolder& model, const std::string& name) {
  const ModelPart* part = model.find(name);
  if (part == nullptr) {
    throw DataError(model.path / name, fmt::format("{} lists this part, but it is not here", ledger_name));
  }
  return *part;
}

std::string verify_weights(const fs::path& folder, const Ledger& ledger) {
  const ModelFolder model = open_model(folder);
  for (const auto& [name, digest] : ledger.parts) {
    require_equal(folder / name, "weights", part_digest(model, part_of(model, name)), digest);
  }
  return fmt::format("{} parts, weights {}, as {} says", ledger.parts.size(), ledger.soup_digest().brief(),
                     ledger_name);
}

std::string verify_accumulator(const fs::path& folder, const Ledger& ledger) {
  const ModelFolder model = open_model(folder);
  for (const auto& [name, digest] : ledger.accumulator.parts) {
    const ModelPart& part = part_of(model, name);
    const Weights weights = open_part(model, part);
    const Weights accumulator = open_part_below(folder / accumulator_folder, name, part.files);
    const SumStart soup{&accumulator, &weights, {ledger.total_weight, ledger.scale_bits, soup_dtype_of(ledger)}};
    require_equal(folder / accumulator_folder / name, "sums", check_sums(soup, usable_threads()), digest);
  }
  return fmt::format("{} sums of {} parts, which give the weights to the bit", name_of(ledger.accumulator.kind),
                     ledger.parts.size());
}

void verify_made_again(Verifier& verifier, const fs::path& folder, const Ledger& ledger) {
  std::vector<MergeInput> inputs;
  std::vector<std::string> missing;
  const auto add_input = [&](const LedgerIngredient& ingredient, bool is_base) {
    MergeInput input{ingredient.name,         (folder / ingredient.path).lexically_normal(),
                     ingredient.weight,       {},
                     ingredient.asked_weight, is_base};
    for (const auto& [part, promised] : ingredient.parts) {
      input.expected.emplace(part, promised.digest);
    }
    std::error_code ignored;
    if (!fs::exists(input.path, ignored)) {
      missing.push_back(input.path.string());
    }
    inputs.push_back(std::move(input));
  };
  for (const LedgerIngredient& ingredient : ledger.ingredients) {
    add_input(ingredient, false);
  }
  if (ledger.base) {
    add_input(*ledger.base, true);
  }
  if (!missing.empty()) {
    verifier.not_checked(
        folder, fmt::format("whether its ingredients give these weights: not here are {}", fmt::join(missing, ", ")));
    return;
  }
  verifier.check(folder, [&] {
    MergeOptions options;
    options.method = ledger.blend;
    options.rules = ledger.rules;
    options.scale_bits = ledger.scale_bits;
    options.dtype = soup_dtype_of(ledger);
    options.accumulator = AccumulatorKind::none;
    options.parts.emplace();
    for (const auto& [part, digest] : ledger.parts) {
      options.parts->push_back(part);
    }
    const ScratchFolder scratch("soup-verify");
    const Ledger again = merge(inputs, scratch.path() / "soup", options);
    for (const auto& [part, digest] : ledger.parts) {
      require_equal(folder / part, "made again from its ingredients", again.parts.at(part), digest);
    }
    return fmt::format(
        "the same bits again from {} ingredients, {}", ledger.ingredients.size(),
        ledger.blend ? "method " + ledger.method() : fmt::format("total weight {}", ledger.total_weight));
  });
}

}  // namespace

void verify_soup(Verifier& verifier, const fs::path& folder, const std::optional<Digest>& promised,
                 const VerifyOptions& options) {
  std::optional<Ledger> ledger;
  verifier.check(folder, [&] {
    ledger = read_ledger(folder);
    if (promised) {
      require_equal(folder, "soup", ledger->soup_digest(), *promised);
    }
    return verify_weights(folder, *ledger);
  });
  if (!ledger) {
    return;
  }
  std::error_code ignored;
  if (ledger->accumulator.kind == AccumulatorKind::none) {
    verifier.not_checked(folder / accumulator_folder, "the soup keeps no sums");
  } else if (!fs::exists(folder / accumulator_folder, ignored)) {
    verifier.not_checked(folder / accumulator_folder, "the sums that the ledger lists are not here");
  } else {
    verifier.check(folder / accumulator_folder, [&] { return verify_accumulator(folder, *ledger); });
  }
  verify_made_again(verifier, folder, *ledger);
  verify_certificates(verifier, *ledger, folder, options);
  verify_chain(verifier, *ledger, folder);
}

}  // namespace soup
