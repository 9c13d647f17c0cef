#include "experiments/report_data.hpp"

#include <algorithm>
#include <set>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "data/shard_file.hpp"
#include "data/split.hpp"

namespace soup {

namespace {

nlohmann::json read_json(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) {
    return nlohmann::json::object();
  }
  nlohmann::json json = nlohmann::json::parse(read_file(path), nullptr, false);
  if (!json.is_object()) {
    throw DataError(path, "is not a JSON object", "remove it and run the stage that wrote it again");
  }
  return json;
}

LossCurve read_curve(const std::filesystem::path& path) {
  LossCurve curve;
  for (const std::string& line : split(read_file(path), '\n')) {
    if (line.empty()) {
      continue;
    }
    try {
      const nlohmann::json point = nlohmann::json::parse(line);
      const auto images = point.at("images").get<double>();
      curve.training.emplace_back(images, point.at("loss").get<double>());
      const auto held_out = point.find("held_out_loss");
      if (held_out != point.end() && held_out->is_number() && held_out->get<double>() >= 0.0) {
        curve.held_out.emplace_back(images, held_out->get<double>());
      }
    } catch (const nlohmann::json::exception& error) {
      throw DataError(path, std::string("holds a line that is no point of a loss curve: ") + error.what());
    }
  }
  return curve;
}

// The images of a data shard that the duplicates stage took out of training.
std::set<std::uint64_t> read_dropped(const std::filesystem::path& path) {
  const nlohmann::json json = read_json(path);
  try {
    return json.empty() ? std::set<std::uint64_t>{} : json.at("excluded").get<std::set<std::uint64_t>>();
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path, std::string("is not a list of excluded images: ") + error.what(), "remove it and run again");
  }
}

ShardSummary summarise_shard(const Experiment& experiment, const Stage& stage, const std::filesystem::path& path) {
  const ShardFile file(path);
  const HeldOut held_out{experiment.data.held_out, experiment.data.held_out_seed};
  ShardSummary summary;
  summary.name = shard_of(stage, experiment).name;
  summary.is_base = stage.is_base_shard;
  std::set<std::uint64_t> dropped;
  if (!summary.is_base) {
    dropped = read_dropped(exclusion_file(experiment.run_folder, summary.name));
  }
  summary.images = file.size();
  summary.trained = training_set(file, held_out, dropped).images.size();
  summary.held_out = held_out_set(file, held_out).size();
  summary.dropped = dropped.size();
  summary.root = file.root().hex();
  summary.origin = file.origin();
  return summary;
}

void read_records(const std::filesystem::path& folder, const std::string& model, RunData& run) {
  bool found = false;
  for (const std::string weights : {"", "raw", "ema"}) {
    const std::filesystem::path path = folder / (record_stem(model, weights) + ".jsonl");
    if (std::filesystem::exists(path)) {
      run.records.emplace(std::pair(model, weights), read_record(path));
      found = true;
    }
  }
  if (found && model != "real") {
    run.models.push_back(model);
  }
}

}  // namespace

const ModelRecord* RunData::find(const std::string& model, const std::string& weights) const {
  const auto found = records.find({model, weights});
  return found == records.end() ? nullptr : &found->second;
}

const Comparison* RunData::find_comparison(std::string_view second, std::string_view weights) const {
  const auto found = std::ranges::find_if(comparisons, [&](const Comparison& comparison) {
    return comparison.second == second && comparison.weights == weights;
  });
  return found == comparisons.end() ? nullptr : &*found;
}

RunData read_run(const Experiment& experiment) {
  const std::filesystem::path& root = experiment.run_folder;
  RunData run;
  run.experiment = experiment;
  run.configuration = to_yaml(experiment);
  run.environment = read_json(root / "environment.json");
  std::vector<Stage> stages = surviving_stages(experiment);
  run.missing = read_missing(experiment);
  for (const Stage& stage : stages) {
    if (stage.kind == StageKind::duplicates) {
      run.duplicates = read_json(root / stage.folder / "duplicates.json");
    }
  }
  std::filesystem::path evaluation = root / "evaluation";
  std::vector<std::string> models = {"real"};
  std::vector<std::string> leave_one_out;
  for (Stage& stage : stages) {
    const std::filesystem::path folder = root / stage.folder;
    if (stage.kind == StageKind::import_shard && std::filesystem::exists(folder / "shard.h5")) {
      run.shards.push_back(summarise_shard(experiment, stage, folder / "shard.h5"));
    } else if (stage.kind == StageKind::evaluate) {
      evaluation = folder;
    } else if (stage.kind == StageKind::base || stage.kind == StageKind::ingredient || stage.kind == StageKind::soup ||
               stage.kind == StageKind::paragon) {
      (stage.name.starts_with("soup/") ? leave_one_out : models).push_back(stage.name);
    }
    if (std::filesystem::exists(folder / "loss.jsonl")) {
      run.curves.emplace(stage.name, read_curve(folder / "loss.jsonl"));
    }
    if (stage.name == "soup" && std::filesystem::exists(folder / ledger_name)) {
      run.ledger = read_ledger(folder);
    }
    std::optional<StageRecord> record = read_done(folder);
    run.stages.push_back({std::move(stage), std::move(record)});
  }
  models.emplace_back("ensemble");
  models.insert(models.end(), leave_one_out.begin(), leave_one_out.end());
  for (const std::string& model : models) {
    read_records(evaluation, model, run);
  }
  if (std::filesystem::exists(evaluation / "comparison.json")) {
    run.comparisons = read_comparisons(evaluation / "comparison.json");
  }
  if (std::filesystem::exists(evaluation / "drift.json")) {
    run.drift = read_drift(evaluation / "drift.json");
  }
  run.scorer = read_json(evaluation / "scorer.json");
  return run;
}

std::string display_name(std::string_view model) {
  const auto after = [model](std::string_view prefix) { return std::string(model.substr(prefix.size())); };
  if (model == "real") {
    return "Real icons";
  }
  if (model == "ensemble") {
    return "Output ensemble";
  }
  if (model.starts_with("ingredient/")) {
    return "Ingredient " + after("ingredient/");
  }
  if (model.starts_with("soup/without-")) {
    return "Soup without " + after("soup/without-");
  }
  std::string name(model);
  std::ranges::replace(name, '-', ' ');
  if (const std::size_t slash = name.find('/'); slash != std::string::npos) {
    name.replace(slash, 1, ", ");
  }
  if (!name.empty() && name[0] >= 'a' && name[0] <= 'z') {
    name[0] = static_cast<char>(name[0] - 'a' + 'A');
  }
  return name;
}

}  // namespace soup
