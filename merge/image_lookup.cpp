// The shard files that a soup's ingredients were trained on, and which images of one are in the others' too.
#include "merge/image_lookup.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "core/error.hpp"
#include "data/duplicates.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_examples = 10;

// Records are read from disk: their shards must lie in the run folder.
bool is_below(const fs::path& relative) {
  return !relative.empty() && relative.is_relative() && *relative.lexically_normal().begin() != "..";
}

IngredientShards recorded_shards(const LedgerIngredient& entry, const fs::path& soup_folder) {
  IngredientShards shards{entry.name, {}, {}};
  const fs::path model = (soup_folder / entry.path).lexically_normal();
  try {
    const std::optional<IngredientRecord> record = find_ingredient_record(model);
    if (!record || record->shards.empty()) {
      shards.reason = fmt::format("no {} says which shard files it was trained on", ingredient_record_name);
      return shards;
    }
    const std::optional<fs::path> run = find_run_folder(model, *record);
    if (!run) {
      shards.reason = fmt::format("its shard files are not here: {}", fmt::join(record->shards, ", "));
      return shards;
    }
    for (const std::string& file : record->shards) {
      shards.files.push_back(*run / file);
    }
  } catch (const DataError& error) {
    shards.reason = error.message();
  }
  return shards;
}

// What is found while one shard after the other is looked through.
class Lookup {
 public:
  Lookup(const IngredientShards& removed, bool near) {
    if (near) {
      near_.emplace();
      lookup_.near = 0;
    }
    for (const fs::path& file : removed.files) {
      removed_.emplace_back(file);
      lookup_.roots.push_back(removed_.back().root());
      lookup_.images += static_cast<std::int64_t>(removed_.back().size());
    }
    exact_.resize(removed_.size());
    near_found_.resize(removed_.size());
  }

  void look_through(const std::string& ingredient, const fs::path& file) {
    const ShardFile other(file);
    ImageLookup::Shard found{ingredient, other.root(), static_cast<std::int64_t>(other.size()), 0, lookup_.near};
    found.near = near_ ? std::optional<std::int64_t>(0) : std::nullopt;
    std::vector<ImageLookup::Example> examples;
    for (std::size_t i = 0; i < removed_.size(); ++i) {
      const std::vector<DuplicatePair> pairs = images_also_in(removed_[i], other, near_);
      for (const DuplicatePair& pair : pairs) {
        ++(pair.exact ? found.exact : *found.near);
        (pair.exact ? exact_ : near_found_)[i].insert(pair.second_image);
        examples.push_back({static_cast<std::int64_t>(pair.second_image), removed_[i].digest(pair.second_image),
                            ingredient, static_cast<std::int64_t>(pair.first_image), other.digest(pair.first_image),
                            pair.exact});
      }
    }
    lookup_.shards.push_back(found);
    lookup_.examples.insert(lookup_.examples.end(), examples.begin(), examples.end());
    std::ranges::stable_partition(lookup_.examples, [](const ImageLookup::Example& example) { return example.exact; });
    lookup_.examples.resize(std::min(lookup_.examples.size(), most_examples));
  }

  void not_looked_up(const std::string& ingredient, const std::string& reason) {
    lookup_.not_looked_up.push_back({ingredient, reason});
  }

  [[nodiscard]] ImageLookup result() const {
    ImageLookup lookup = lookup_;
    for (std::size_t i = 0; i < removed_.size(); ++i) {
      lookup.exact += static_cast<std::int64_t>(exact_[i].size());
      if (near_) {
        *lookup.near +=
            std::ranges::count_if(near_found_[i], [&](std::size_t image) { return !exact_[i].contains(image); });
      }
    }
    return lookup;
  }

 private:
  std::optional<DuplicateOptions> near_;
  std::vector<ShardFile> removed_;
  std::vector<std::set<std::size_t>> exact_;  // images of each removed file that were found anywhere
  std::vector<std::set<std::size_t>> near_found_;
  ImageLookup lookup_;
};

}  // namespace

std::optional<fs::path> find_run_folder(const fs::path& model_folder, const IngredientRecord& record) {
  if (record.shards.empty() || !std::ranges::all_of(record.shards, is_below)) {
    return std::nullopt;
  }
  const fs::path model = fs::absolute(model_folder).lexically_normal();
  for (fs::path folder = model; folder != folder.parent_path(); folder = folder.parent_path()) {
    std::error_code ignored;
    if (std::ranges::all_of(record.shards,
                            [&](const std::string& file) { return fs::is_regular_file(folder / file, ignored); })) {
      return folder;
    }
  }
  return std::nullopt;
}

std::vector<IngredientShards> shards_of(const Ledger& ledger, const fs::path& soup_folder,
                                        const std::vector<fs::path>& data) {
  std::vector<IngredientShards> all;
  for (const LedgerIngredient& entry : ledger.ingredients) {
    all.push_back({entry.name, {}, {}});
  }
  for (const fs::path& file : data) {
    const ShardFile shard(file);
    const auto owner = std::ranges::find_if(ledger.ingredients, [&](const LedgerIngredient& entry) {
      return entry.name == shard.origin().name || entry.data_root_digest == shard.root();
    });
    if (owner == ledger.ingredients.end()) {
      std::vector<std::string> names;
      std::ranges::transform(ledger.ingredients, std::back_inserter(names), &LedgerIngredient::name);
      throw ConfigError(fmt::format("the shard file {} is named {}, but the soup's ingredients are {}", file.string(),
                                    shard.origin().name, fmt::join(names, ", ")),
                        "a shard file belongs to the ingredient that has its name, or its Merkle root as data root");
    }
    all[static_cast<std::size_t>(owner - ledger.ingredients.begin())].files.push_back(file);
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].files.empty()) {
      all[i] = recorded_shards(ledger.ingredients[i], soup_folder);
    }
  }
  return all;
}

ImageLookup look_up_images(const IngredientShards& removed, std::span<const IngredientShards> others, bool near) {
  Lookup lookup(removed, near);
  for (const IngredientShards& other : others) {
    if (other.files.empty()) {
      lookup.not_looked_up(other.ingredient, other.reason);
    }
    for (const fs::path& file : other.files) {
      try {
        lookup.look_through(other.ingredient, file);
      } catch (const DataError& error) {
        lookup.not_looked_up(other.ingredient, error.message());
      }
    }
  }
  return lookup.result();
}

}  // namespace soup
