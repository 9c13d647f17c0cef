#include "tests/experiments/synthetic_run.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/random.hpp"
#include "data/image.hpp"
#include "experiments/drift.hpp"
#include "experiments/evaluation_record.hpp"
#include "experiments/stage.hpp"
#include "merge/ledger.hpp"
#include "tests/experiments/shards.hpp"

namespace soup::test {

namespace {

constexpr int prompts = 24;
constexpr int grid_size = 32;

struct Quality {
  double alignment;
  double kernel;
  double loss;
};

Quality quality_of(const std::string& model) {
  if (model == "base") {
    return {0.36, 1.19, 0.131};
  }
  if (model.starts_with("ingredient/")) {
    return {0.27, 0.41, 0.118};
  }
  if (model == "paragon/equal-total") {
    return {0.29, 0.22, 0.087};
  }
  return {0.33, 0.22, 0.100};
}

Image picture(RandomStream& random, double blur) {
  Image image{grid_size, grid_size, 3, std::vector<std::uint8_t>(grid_size * grid_size * 3, 255)};
  const auto red = static_cast<double>(random.below(200));
  const auto green = static_cast<double>(random.below(200));
  const double radius = 7.0 + 6.0 * random.uniform();
  for (int y = 0; y < grid_size; ++y) {
    for (int x = 0; x < grid_size; ++x) {
      const double distance = std::hypot(x - 15.5, y - 15.5);
      const double ink = 1.0 / (1.0 + std::exp((distance - radius) / blur));
      auto* pixel = image.pixels.data() + (y * grid_size + x) * 3;
      pixel[0] = static_cast<std::uint8_t>(255.0 - ink * (255.0 - red));
      pixel[1] = static_cast<std::uint8_t>(255.0 - ink * (255.0 - green));
      pixel[2] = static_cast<std::uint8_t>(255.0 - ink * 120.0);
    }
  }
  return image;
}

void write_model(const std::filesystem::path& folder, const std::string& model, const std::string& weights,
                 const Experiment& experiment) {
  const bool real = model == "real";
  const Quality quality = real ? Quality{0.61, 0.0, 0.0} : quality_of(model);
  RandomStream random = SeedTree(5).stream("synthetic", model + weights, 0);
  RandomStream shared = SeedTree(5).stream("synthetic", "prompts", 0);
  ModelRecord record;
  record.model = model;
  record.weights = weights;
  record.key = "synthetic";
  std::vector<Image> cells;
  for (int i = 0; i < prompts; ++i) {
    const std::string& style = experiment.data.shards[static_cast<std::size_t>(i) % 3].name;
    const bool styled = i / 3 % 2 == 0;
    const std::string caption = "devices thing " + std::to_string(i);
    const double alignment = quality.alignment + 0.1 * shared.normal() + 0.02 * random.normal();
    const double nan = std::nan("");
    record.images.push_back({static_cast<std::uint64_t>(i),
                             styled ? caption + ", " + style + " style" : caption,
                             caption,
                             style,
                             "devices",
                             styled,
                             "devices",
                             style,
                             {{"alignment", alignment},
                              {"alignment_styled", styled ? alignment : nan},
                              {"alignment_plain", styled ? nan : alignment},
                              {"retrieval_top1", random.uniform() < 0.3 ? 1.0 : 0.0},
                              {"retrieval_rank", 1.0 + static_cast<double>(random.below(20))},
                              {"context_accuracy", random.uniform() < 0.6 ? 1.0 : 0.0},
                              {"style_accuracy", styled ? (random.uniform() < 0.5 ? 1.0 : 0.0) : nan},
                              {"style_probability", styled ? random.uniform() : nan}}});
    if (cells.size() < static_cast<std::size_t>(experiment.evaluation.grid_prompts)) {
      cells.push_back(picture(random, model == "base" ? 3.0 : 0.5));
    }
  }
  for (int i = 0; i < 30 && !real && model != "ensemble"; ++i) {
    record.denoising.push_back({experiment.data.shards[static_cast<std::size_t>(i) % 3].name,
                                static_cast<std::uint64_t>(i),
                                quality.loss + 0.01 * shared.normal() + 0.001 * random.normal()});
  }
  record.scores["kernel_distance"] = {quality.kernel + 0.01 * random.normal(), 0.02, prompts};
  record.scores["frechet_distance"] = {100.0 * quality.kernel + 40.0, 3.0, prompts};
  record.seconds = 3.0;
  summarise(record, 200, SeedTree(1).stream("bootstrap", "", 0));
  write_png(folder / (record_stem(model, weights) + ".png"), image_grid(cells, static_cast<int>(cells.size()), 0, 4));
  write_record(folder, record);
}

void write_curve(const std::filesystem::path& folder, double floor) {
  std::string text;
  for (int i = 1; i <= 40; ++i) {
    nlohmann::json point = {{"images", 1000 * i}, {"loss", floor + 0.5 * std::exp(-0.2 * i)}, {"learning_rate", 1e-3}};
    if (i % 8 == 0) {
      point["held_out_loss"] = 1.1 * floor + 0.5 * std::exp(-0.2 * i);
    }
    text += point.dump() + "\n";
  }
  write_file_atomically(folder / "loss.jsonl", text);
}

Comparison compare_means(const std::filesystem::path& folder, const std::string& other, const std::string& weights) {
  const ModelRecord soup = read_record(folder / (record_stem("soup", weights) + ".jsonl"));
  const ModelRecord second = read_record(folder / (record_stem(other, weights) + ".jsonl"));
  Comparison comparison{"soup", other, weights, {}};
  for (const auto& [name, estimate] : soup.scores) {
    if (const auto found = second.scores.find(name); found != second.scores.end()) {
      const double scale = name == "alignment" || name == "denoising_loss" ? 0.1 : 100.0;
      const double difference = estimate.value - found->second.value;
      comparison.differences[name] = {difference, scale * std::abs(difference) + 1e-6, estimate.count};
    }
  }
  return comparison;
}

Ledger make_ledger(const Experiment& experiment) {
  Ledger ledger;
  ledger.program = "soup 0.1.0";
  ledger.scale_bits = 44;
  ledger.dtype = "F32";
  ledger.base_digest = sha256("base");
  ledger.parts["unet"] = sha256("soup");
  for (const ShardSpec& shard : experiment.data.shards) {
    LedgerIngredient ingredient;
    ingredient.name = shard.name;
    ingredient.base_digest = ledger.base_digest;
    ingredient.data_root_digest = sha256(shard.name);
    ingredient.config_digest = sha256("config");
    ingredient.images = 40000;
    ingredient.path = "../ingredients/" + shard.name;
    ingredient.parts["unet"] = {sha256("weights " + shard.name), 1.0};
    ledger.ingredients.push_back(std::move(ingredient));
    ++ledger.total_weight;
  }
  ledger.history = {{"made", "", ledger.total_weight, "2026-01-02T03:04:05Z"}};
  return ledger;
}

}  // namespace

Experiment write_synthetic_run(const std::filesystem::path& run_folder) {
  Experiment experiment;
  experiment.name = "icons <three> & styles";
  experiment.seed = 1;
  experiment.run_folder = run_folder;
  experiment.ingredients.images = 40000;
  experiment.base.train.images = 200000;
  experiment.evaluation.prompts = prompts;
  // In the order of the alphabet, as a ledger lists them.
  for (const std::string name : {"oxygen", "papirus", "tango"}) {
    experiment.data.shards.push_back({.name = name, .theme = {}, .source = FileSource{run_folder / (name + ".h5")}});
  }
  experiment.base.shards.push_back({.name = "mixed", .theme = {}, .source = FileSource{run_folder / "mixed.h5"}});
  std::vector<std::string> models;
  for (const Stage& stage : stages_of(experiment)) {
    const std::filesystem::path folder = run_folder / stage.folder;
    std::filesystem::create_directories(folder);
    if (stage.kind == StageKind::import_shard) {
      const std::string& name = shard_of(stage, experiment).name;
      make_shard(folder, name, name, 60, 8, 200, 100, 0);
      std::filesystem::rename(folder / (name + ".h5"), folder / "shard.h5");
    } else if (stage.kind == StageKind::duplicates) {
      write_file_atomically(
          folder / "duplicates.json",
          R"({"exact": 3, "near": 5, "also_in_base": 7, "dropped": {"oxygen": 0, "papirus": 0, "tango": 3}})");
      write_file_atomically(exclusion_file(run_folder, "tango"), R"({"shard": "tango", "excluded": [3, 7, 11]})");
    } else if (stage.kind == StageKind::soup || stage.images > 0) {
      models.push_back(stage.name);
    }
    if (stage.images > 0) {
      write_curve(folder, quality_of(stage.name).loss);
    }
    if (stage.name == "soup") {
      write_ledger(folder, make_ledger(experiment));
    }
    write_done(folder,
               {.key = sha256(stage.name), .result = sha256("result"), .seconds = 12.5, .images = stage.images});
  }
  models.emplace_back("ensemble");
  const std::filesystem::path evaluation = run_folder / "evaluation";
  write_model(evaluation, "real", "", experiment);
  std::vector<Comparison> comparisons;
  for (const std::string weights : {"raw", "ema"}) {
    for (const std::string& model : models) {
      write_model(evaluation, model, weights, experiment);
    }
    for (const std::string& model : models) {
      if (model != "soup") {
        comparisons.push_back(compare_means(evaluation, model, weights));
      }
    }
  }
  write_comparisons(evaluation, comparisons);
  write_drift(evaluation / "drift.json",
              {{"ingredient/oxygen", "ingredient/papirus", "ingredient/tango", "soup"},
               {0.11, 0.12, 0.09, 0.066},
               {{1, 0.16, 0.2, 0.6}, {0.16, 1, -0.1, 0.7}, {0.2, -0.1, 1, 0.5}, {0.6, 0.7, 0.5, 1}}});
  write_file_atomically(evaluation / "scorer.json",
                        R"({"held_out_accuracy": {"pairs": 1200, "styled_captions": 1100, "styled_top1": 0.12,
                            "styled_top5": 0.31, "context_accuracy": 0.71, "style_accuracy": 0.83}})");
  write_file_atomically(run_folder / "environment.json", R"({"compiler": "g++ 12.2", "cores": 2})");
  return experiment;
}

}  // namespace soup::test
