// Ingredients that a soup of survivors is made without.
#include "experiments/missing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/stage_failure.hpp"

namespace soup {

namespace {

constexpr std::uintmax_t max_missing_bytes = 16U << 20;

std::filesystem::path missing_file(const std::filesystem::path& run_folder) {
  return run_folder / "missing.json";
}

}  // namespace

std::vector<MissingIngredient> unfinished_ingredients(const Experiment& experiment, const std::vector<Stage>& stages) {
  std::vector<MissingIngredient> missing;
  for (const Stage& stage : stages) {
    if (stage.kind != StageKind::ingredient || is_done(stage, stages, experiment.run_folder)) {
      continue;
    }
    const std::optional<StageFailure> failure = read_failure(experiment.run_folder / stage.folder);
    missing.push_back({shard_of(stage, experiment).name, failure ? failure->error : "not trained to its end"});
  }
  return missing;
}

void write_missing(const std::filesystem::path& run_folder, const std::vector<MissingIngredient>& missing) {
  if (missing.empty()) {
    std::error_code ignored;
    std::filesystem::remove(missing_file(run_folder), ignored);
    return;
  }
  nlohmann::json list = nlohmann::json::array();
  for (const MissingIngredient& ingredient : missing) {
    list.push_back({{"shard", ingredient.shard}, {"reason", ingredient.reason}});
  }
  write_file_atomically(
      missing_file(run_folder),
      nlohmann::json{{"missing", list}}.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::vector<MissingIngredient> read_missing(const Experiment& experiment) {
  const std::filesystem::path file = missing_file(experiment.run_folder);
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return {};
  }
  std::vector<MissingIngredient> missing;
  try {
    const nlohmann::json json = nlohmann::json::parse(read_file(file, max_missing_bytes));
    for (const nlohmann::json& entry : json.at("missing")) {
      missing.push_back({entry.at("shard").get<std::string>(), entry.at("reason").get<std::string>()});
    }
  } catch (const nlohmann::json::exception& failure) {
    throw DataError(file, std::string("is no list of missing ingredients: ") + failure.what(),
                    "remove it, and give `soup run` again");
  }
  // A shard that the experiment has no more cannot be missing.
  std::erase_if(missing, [&experiment](const MissingIngredient& ingredient) {
    return std::ranges::find(experiment.data.shards, ingredient.shard, &ShardSpec::name) ==
           experiment.data.shards.end();
  });
  return missing;
}

std::vector<Stage> stages_without(std::vector<Stage> stages, const Experiment& experiment,
                                  const std::vector<MissingIngredient>& missing) {
  if (missing.empty()) {
    return stages;
  }
  // The soups of an experiment that never named these shards have the same keys.
  Experiment rest = experiment;
  std::set<std::string> gone;
  for (const MissingIngredient& ingredient : missing) {
    std::erase_if(rest.data.shards, [&](const ShardSpec& shard) { return shard.name == ingredient.shard; });
    gone.insert({"ingredient/" + ingredient.shard, "soup/without-" + ingredient.shard});
  }
  if (rest.data.shards.empty()) {
    throw DataError(experiment.run_folder, "no ingredient is finished: there is nothing to make a soup of",
                    describe(missing));
  }
  const bool alone = rest.data.shards.size() == 1;
  std::erase_if(stages, [&](const Stage& stage) {
    return gone.contains(stage.name) || (alone && stage.name.starts_with("soup/"));
  });
  const std::vector<Stage> of_rest = stages_of(rest);
  for (Stage& stage : stages) {
    if (stage.kind == StageKind::soup) {
      const auto same = std::ranges::find(of_rest, stage.name, &Stage::name);
      SOUP_REQUIRE(same != of_rest.end(), "no stage " + stage.name + " without the missing ingredients");
      stage.inputs = same->inputs;
      stage.settings = same->settings;
    } else {
      std::erase_if(stage.inputs, [&](const std::string& input) {
        return gone.contains(input) || (alone && input.starts_with("soup/"));
      });
    }
  }
  return stages;
}

std::vector<Stage> surviving_stages(const Experiment& experiment) {
  return stages_without(stages_of(experiment), experiment, read_missing(experiment));
}

std::string describe(const std::vector<MissingIngredient>& missing) {
  std::string text;
  for (const MissingIngredient& ingredient : missing) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : "; ", ingredient.shard, ingredient.reason);
  }
  return text;
}

}  // namespace soup
