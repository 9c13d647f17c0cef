// Verification of the chain from each ingredient's images to the ledger.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "core/error.hpp"
#include "data/shard_file.hpp"
#include "data/split.hpp"
#include "experiments/exclusions.hpp"
#include "experiments/experiment.hpp"
#include "experiments/stage.hpp"
#include "experiments/verify_soup.hpp"
#include "merge/image_lookup.hpp"
#include "merge/ingredient_record.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

void require_same(const fs::path& path, const std::string& what, const std::optional<Digest>& found,
                  const std::optional<Digest>& promised) {
  const auto text = [](const std::optional<Digest>& digest) { return digest ? digest->brief() : "none"; };
  if (found != promised) {
    throw DataError(path, fmt::format("{}: the ledger says {}, but this record {}", what, text(promised), text(found)),
                    "the soup was made of another model, or one of the two files was changed");
  }
}

std::string verify_record(const fs::path& file, const IngredientRecord& record, const LedgerIngredient& entry) {
  require_same(file, "base", record.base_digest, entry.base_digest);
  require_same(file, "data root", record.data_root_digest, entry.data_root_digest);
  require_same(file, "configuration", record.config_digest, entry.config_digest);
  if (record.images != entry.images) {
    throw DataError(file, fmt::format("the ledger says {} images, but this record {}", entry.images, record.images));
  }
  for (const auto& [name, part] : entry.parts) {
    const auto found = record.weights.find(name);
    require_same(file, "weights of " + name,
                 found == record.weights.end() ? std::nullopt : std::optional(found->second), part.digest);
  }
  return fmt::format("ingredient {} as the ledger has it: data root {}, {} images seen", entry.name,
                     record.data_root_digest.brief(), record.images);
}

Digest root_of(const std::vector<Digest>& roots) {
  return roots.size() == 1 ? roots.front() : merkle_root(roots);
}

// The data root of what a run trains on: the images that are neither held out nor dropped as duplicates.
Digest trained_root(const fs::path& run, const IngredientRecord& record) {
  const HeldOut held_out = held_out_of(load_experiment(run / "experiment.yaml", {}));
  std::vector<Digest> roots;
  for (const std::string& file : record.shards) {
    const std::string shard = fs::path(file).parent_path().filename().string();
    const fs::path list = exclusion_file(run, shard);
    const std::set<std::uint64_t> dropped = fs::exists(list) ? read_exclusions(list, shard) : std::set<std::uint64_t>{};
    const ShardFile images(run / file);
    if (!dropped.empty() && *dropped.rbegin() >= images.size()) {
      throw DataError(list, fmt::format("lists image {}, but {} has {}", *dropped.rbegin(), file, images.size()));
    }
    roots.push_back(training_set(images, held_out, dropped).digest);
  }
  return root_of(roots);
}

// Shard files -> Merkle root -> the record's data root.
void verify_data(Verifier& verifier, const fs::path& model, const IngredientRecord& record) {
  const std::optional<fs::path> run = find_run_folder(model, record);
  if (!run) {
    verifier.not_checked(model, fmt::format("the images it was trained on: its shard files [{}] are not here",
                                            fmt::join(record.shards, ", ")));
    return;
  }
  std::vector<Digest> roots;
  std::size_t images = 0;
  try {
    for (const std::string& file : record.shards) {
      const ShardFile shard(*run / file);
      if (verifier.is_first_look(*run / file)) {
        shard.verify();
      }
      roots.push_back(shard.root());
      images += shard.size();
    }
  } catch (const DataError& error) {
    verifier.check(model, [&error]() -> std::string { throw error; });
    return;
  }
  std::error_code ignored;
  const bool is_run = fs::is_regular_file(*run / "experiment.yaml", ignored);
  if (root_of(roots) != record.data_root_digest && !is_run) {
    verifier.not_checked(model, fmt::format("which of the {} images in {} it was trained on: {} has no experiment.yaml",
                                            images, fmt::join(record.shards, ", "), run->string()));
    return;
  }
  verifier.check(model, [&] {
    if (root_of(roots) != record.data_root_digest) {
      require_equal(model / ingredient_record_name, "data root", trained_root(*run, record), record.data_root_digest);
    }
    return fmt::format("data root {} from the image digests of {}", record.data_root_digest.brief(),
                       fmt::join(record.shards, ", "));
  });
}

}  // namespace

void verify_chain(Verifier& verifier, const Ledger& ledger, const fs::path& soup_folder) {
  for (const LedgerIngredient& entry : ledger.ingredients) {
    const fs::path model = (soup_folder / entry.path).lexically_normal();
    const fs::path file = model / ingredient_record_name;
    std::error_code ignored;
    if (!fs::exists(file, ignored)) {
      verifier.not_checked(
          model, fmt::format("what ingredient {} was trained on: {} is not here", entry.name, ingredient_record_name));
      continue;
    }
    std::optional<IngredientRecord> record;
    verifier.check(file, [&] {
      record = read_ingredient_record(model);
      return verify_record(file, *record, entry);
    });
    if (record && verifier.is_first_look(file)) {
      verify_data(verifier, model, *record);
    }
  }
}

}  // namespace soup
