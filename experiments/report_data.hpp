// Everything a report shows, read from the run folder and nothing else. Torch-free.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/shard_file.hpp"
#include "experiments/drift.hpp"
#include "experiments/evaluation_record.hpp"
#include "experiments/experiment.hpp"
#include "experiments/missing.hpp"
#include "experiments/stage.hpp"
#include "merge/ledger.hpp"

namespace soup {

struct ShardSummary {
  std::string name;
  bool is_base = false;  // the base was trained on it
  std::uint64_t images = 0;
  std::uint64_t trained = 0;  // neither held out nor dropped
  std::uint64_t held_out = 0;
  std::uint64_t dropped = 0;  // duplicates taken out of training; some may be held out too
  std::string root;           // Merkle root, hex
  ShardOrigin origin;
};

struct LossCurve {
  std::vector<std::pair<double, double>> training;  // (images, loss)
  std::vector<std::pair<double, double>> held_out;
};

struct StageSummary {
  Stage stage;
  std::optional<StageRecord> record;  // absent: not done
};

struct RunData {
  Experiment experiment;
  std::string configuration;  // YAML
  std::vector<StageSummary> stages;
  std::vector<MissingIngredient> missing;  // what soup.on_missing: soup_of_survivors went on without
  std::vector<ShardSummary> shards;
  std::map<std::string, LossCurve> curves;  // by stage name
  std::vector<std::string>
      models;  // base, ingredients, soup, paragons, "ensemble", leave-one-out soups: those with a record
  std::map<std::pair<std::string, std::string>, ModelRecord> records;  // by (model, weights)
  std::vector<Comparison> comparisons;
  std::optional<Drift> drift;
  std::optional<Ledger> ledger;
  nlohmann::json environment = nlohmann::json::object();
  nlohmann::json duplicates = nlohmann::json::object();
  nlohmann::json scorer = nlohmann::json::object();  // recipe.json of the scorer, as the evaluation kept it

  // nullptr when absent.
  [[nodiscard]] const ModelRecord* find(const std::string& model, const std::string& weights) const;
  [[nodiscard]] const Comparison* find_comparison(std::string_view second, std::string_view weights) const;
};

// Files that are not there (a run that ended early, no scorer, no soup) leave their part empty. Throws DataError for
// files that are there and broken.
RunData read_run(const Experiment& experiment);

// "ingredient/oxygen" -> "Ingredient oxygen", "paragon/equal-total" -> "Paragon, equal total", "real" -> "Real icons".
[[nodiscard]] std::string display_name(std::string_view model);

}  // namespace soup
