#include "experiments/evaluation_summary.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "experiments/comparison.hpp"
#include "experiments/drift.hpp"
#include "experiments/missing.hpp"
#include "experiments/stage.hpp"

namespace soup {

namespace {

std::vector<std::pair<std::string, std::filesystem::path>> model_folders(const Experiment& experiment,
                                                                         const std::filesystem::path& base) {
  std::vector<std::pair<std::string, std::filesystem::path>> folders;
  for (const Stage& stage : surviving_stages(experiment)) {
    if (stage.kind == StageKind::base) {
      folders.emplace_back(stage.name, base);
    } else if (stage.kind == StageKind::ingredient || stage.kind == StageKind::soup ||
               stage.kind == StageKind::paragon) {
      folders.emplace_back(stage.name, experiment.run_folder / stage.folder);
    }
  }
  return folders;
}

}  // namespace

std::vector<EvaluatedModel> evaluated_models(const Experiment& experiment, const std::filesystem::path& base) {
  const auto folders = model_folders(experiment, base);
  std::vector<std::filesystem::path> ingredients;
  for (const auto& [name, folder] : folders) {
    if (name.starts_with("ingredient/")) {
      ingredients.push_back(folder);
    }
  }
  std::vector<EvaluatedModel> models;
  for (const WeightSet weights : {WeightSet::raw, WeightSet::ema}) {
    for (const auto& [name, folder] : folders) {
      models.push_back({name, {folder}, weights});
    }
    if (experiment.evaluation.ensemble && ingredients.size() > 1) {
      models.push_back({"ensemble", ingredients, weights});
    }
  }
  return models;
}

void summarise_evaluation(const Experiment& experiment, const std::filesystem::path& base,
                          const std::filesystem::path& folder, SeedTree seeds) {
  const auto folders = model_folders(experiment, base);
  if (std::ranges::none_of(folders, [](const auto& model) { return model.first == "soup"; })) {
    return;
  }
  std::vector<std::string> names;
  for (const EvaluatedModel& model : evaluated_models(experiment, base)) {
    if (model.weights == WeightSet::raw) {
      names.push_back(model.name);
    }
  }
  write_comparisons(folder, compare_all(folder, "soup", names, experiment.evaluation.bootstrap, seeds));
  std::vector<std::pair<std::string, std::filesystem::path>> moved;
  for (const auto& model : folders) {
    if (model.first != "base" && !model.first.starts_with("soup/")) {
      moved.push_back(model);
    }
  }
  write_drift(folder / "drift.json", measure_drift(base, moved));
}

}  // namespace soup
