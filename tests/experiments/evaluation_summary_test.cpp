// What is worked out when all models are scored: which models there are, the soup's differences and the drifts as
// numbers worked out by hand, and records that are missing or broken.
#include "experiments/evaluation_summary.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "experiments/drift.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// What a test scores: four images and four real images, of which the bootstrap draws 4000 times, so that its standard
// error is the exact one within 1.1 percent (one standard deviation).
constexpr const char* overrides_of_test = "evaluation.bootstrap=4000";
using Alignments = std::vector<double>;

class Summary : public testing::Test {
 protected:
  test::TemporaryFolder yaml_;
  test::TemporaryFolder run_;
  fs::path base_ = run_.path() / "base";
  fs::path folder_ = run_.path() / "evaluation";
  Experiment experiment_ = load({});

  Experiment load(const std::vector<std::string>& more) {
    std::vector<std::string> overrides = {overrides_of_test};
    overrides.insert(overrides.end(), more.begin(), more.end());
    Experiment experiment = test::load(yaml_.path(), test::small_yaml, overrides);
    experiment.run_folder = run_.path();
    return experiment;
  }

  // A U-Net of four weights.
  static void write_weights(const fs::path& model, const std::vector<float>& values) {
    fs::create_directories(model / "unet");
    const std::vector<TensorSource> tensors = {{"a", DType::f32, {4}, std::as_bytes(std::span(values))}};
    write_safetensors(model / "unet" / "diffusion_pytorch_model.safetensors", tensors, {});
  }

  void write_scores(const std::string& model, const std::string& weights, const Alignments& alignment,
                    const std::vector<double>& losses) const {
    ModelRecord record;
    record.model = model;
    record.weights = weights;
    for (std::size_t i = 0; i < alignment.size(); ++i) {
      ImageRecord& image = record.images.emplace_back();
      image.index = i;
      image.prompt = "prompt " + std::to_string(i);
      image.scores["alignment"] = alignment[i];
    }
    for (std::size_t i = 0; i < losses.size(); ++i) {
      record.denoising.push_back({"one", 2 * i, losses[i]});
    }
    write_record(folder_, record);
  }

  // Weights and scores of every model of experiment_: all alike, but for what a test then writes over.
  void write_run() {
    fs::create_directories(folder_);
    write_weights(base_, {3, 0, 0, 4});
    for (const char* model :
         {"ingredients/one", "ingredients/two", "soup", "paragon/equal-total", "paragon/one-shard"}) {
      write_weights(run_.path() / model, {3, 0, 0, 5});
    }
    for (const EvaluatedModel& model : evaluated_models(experiment_, base_)) {
      write_scores(model.name, model.weights == WeightSet::raw ? "raw" : "ema", {0.5, 0.5, 0.5, 0.5},
                   model.name == "ensemble" ? std::vector<double>() : std::vector<double>{1, 1, 1, 1});
    }
  }

  void summarise() const { summarise_evaluation(experiment_, base_, folder_, SeedTree(1)); }
  std::string refusal() const {
    try {
      summarise();
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  }

  // soup - `other`.
  std::map<std::string, Estimate> differences(const std::string& other, const std::string& weights) const {
    for (const Comparison& comparison : read_comparisons(folder_ / "comparison.json")) {
      if (comparison.first == "soup" && comparison.second == other && comparison.weights == weights) {
        return comparison.differences;
      }
    }
    ADD_FAILURE() << "no comparison with " << other << ", " << weights;
    return {};
  }
};

TEST_F(Summary, ListsEveryModelWithRawAndEmaWeights) {
  const std::vector<EvaluatedModel> models = evaluated_models(experiment_, "/the/base");
  std::vector<std::string> names;
  for (const EvaluatedModel& model : models) {
    names.push_back(model.name);
  }
  const std::vector<std::string> expected = {"base",
                                             "ingredient/one",
                                             "ingredient/two",
                                             "soup",
                                             "soup/without-one",
                                             "soup/without-two",
                                             "paragon/equal-total",
                                             "paragon/one-shard",
                                             "ensemble"};
  ASSERT_EQ(names.size(), 2 * expected.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(names[i], expected[i % expected.size()]);
    EXPECT_EQ(models[i].weights, i < expected.size() ? WeightSet::raw : WeightSet::ema);
  }
  EXPECT_THAT(models[0].folders, ElementsAre("/the/base"));
  EXPECT_THAT(models[4].folders, ElementsAre(run_.path() / "soups/without-one"));
  EXPECT_THAT(models[6].folders, ElementsAre(run_.path() / "paragon/equal-total"));
  EXPECT_THAT(models[8].folders, ElementsAre(run_.path() / "ingredients/one", run_.path() / "ingredients/two"));
}

TEST_F(Summary, NoEnsembleWhereNoneIsAskedForOrThereIsOneIngredient) {
  for (const Experiment& experiment : {load({"evaluation.ensemble=false"}), [this] {
                                         Experiment one = load({});
                                         one.data.shards.pop_back();
                                         return one;
                                       }()}) {
    for (const EvaluatedModel& model : evaluated_models(experiment, base_)) {
      EXPECT_NE(model.name, "ensemble");
    }
  }
}

TEST_F(Summary, ComparesTheSoupWithEveryOtherModelAndBothWeights) {
  write_run();
  summarise();
  std::vector<std::string> raw;
  std::vector<std::string> ema;
  for (const Comparison& comparison : read_comparisons(folder_ / "comparison.json")) {
    EXPECT_EQ(comparison.first, "soup");
    (comparison.weights == "raw" ? raw : ema).push_back(comparison.second);
  }
  EXPECT_THAT(raw, ElementsAre("base", "ingredient/one", "ingredient/two", "soup/without-one", "soup/without-two",
                               "paragon/equal-total", "paragon/one-shard", "ensemble"));
  EXPECT_EQ(ema, raw);
}

TEST_F(Summary, DifferencesAndStandardErrorsAreTheHandWorkedNumbers) {
  write_run();
  write_scores("soup", "raw", {0.1, 0.4, 0.2, 0.9}, {2, 2, 2, 6});
  // Scores that vary, one and the same distance below the soup's: pairing leaves no error.
  write_scores("base", "raw", {-0.15, 0.15, -0.05, 0.65}, {1, 3, 1, 3});
  // Differences 0.1, -0.1, 0.1, -0.1.
  write_scores("ingredient/two", "raw", {0.0, 0.5, 0.1, 1.0}, {2, 2, 2, 6});
  summarise();

  const auto base = differences("base", "raw");
  EXPECT_NEAR(base.at("alignment").value, 0.25, 1e-12);
  EXPECT_NEAR(base.at("alignment").standard_error, 0.0, 1e-12);
  EXPECT_EQ(base.at("alignment").count, 4U);
  // Differences 1, -1, 1, 3: mean 1, mean square about it (0 + 4 + 0 + 4) / 4 = 2, and the mean of four draws has the
  // variance 2 / 4.
  EXPECT_DOUBLE_EQ(base.at("denoising_loss").value, 1.0);
  EXPECT_NEAR(base.at("denoising_loss").standard_error, std::sqrt(0.5), 0.05 * std::sqrt(0.5));

  const auto two = differences("ingredient/two", "raw");
  EXPECT_NEAR(two.at("alignment").value, 0.0, 1e-12);
  EXPECT_NEAR(two.at("alignment").standard_error, 0.05, 0.05 * 0.05);  // 0.1 / sqrt(4), five percent of it
  EXPECT_EQ(two.at("denoising_loss").value, 0.0);
  EXPECT_EQ(two.at("denoising_loss").standard_error, 0.0);

  // The EMA records were not touched.
  EXPECT_EQ(differences("base", "ema").at("alignment").value, 0.0);
}

TEST_F(Summary, WhatOneOfTheTwoLacksIsLeftOut) {
  write_run();
  write_scores("soup", "raw", {0.1, nan, 0.2, 0.9}, {2, 2, 2, 6});
  write_scores("base", "raw", {0.0, 0.0, nan, 0.4}, {1, 1, 1, 1});
  write_scores("ingredient/one", "raw", {}, {1, 1, 1, 1});  // evaluated without a scorer
  write_scores("ingredient/two", "raw", {nan, 0.0, nan, nan}, {1, 1, 1, 1});
  summarise();
  const auto base = differences("base", "raw");
  EXPECT_EQ(base.at("alignment").count, 2U);
  EXPECT_NEAR(base.at("alignment").value, 0.3, 1e-12);  // (0.1 + 0.5) / 2
  EXPECT_FALSE(base.contains("retrieval_top1"));
  EXPECT_FALSE(base.contains("kernel_distance"));
  EXPECT_FALSE(differences("ingredient/one", "raw").contains("alignment"));
  EXPECT_DOUBLE_EQ(differences("ingredient/one", "raw").at("denoising_loss").value, 2.0);
  EXPECT_FALSE(differences("ingredient/two", "raw").contains("alignment"));
  EXPECT_FALSE(differences("ensemble", "raw").contains("denoising_loss"));
  EXPECT_TRUE(differences("ensemble", "raw").contains("alignment"));
}

TEST_F(Summary, DriftIsOfIngredientsSoupAndParagons) {
  write_run();
  write_weights(run_.path() / "ingredients/one", {4, 0, 0, 4});  // moved (1, 0, 0, 0) from a base of length 5
  write_weights(run_.path() / "ingredients/two", {3, 2, 0, 4});  // moved (0, 2, 0, 0)
  write_weights(run_.path() / "soup", {3.5F, 1, 0, 4});          // their average
  summarise();
  const Drift drift = read_drift(folder_ / "drift.json");
  EXPECT_THAT(drift.models,
              ElementsAre("ingredient/one", "ingredient/two", "soup", "paragon/equal-total", "paragon/one-shard"));
  EXPECT_DOUBLE_EQ(drift.relative[0], 0.2);
  EXPECT_DOUBLE_EQ(drift.relative[1], 0.4);
  EXPECT_DOUBLE_EQ(drift.relative[2], std::sqrt(1.25) / 5.0);
  EXPECT_DOUBLE_EQ(drift.relative[3], 0.2);
  EXPECT_EQ(drift.cosines[0][1], 0.0);
  EXPECT_DOUBLE_EQ(drift.cosines[2][0], 0.5 / std::sqrt(1.25));
  EXPECT_DOUBLE_EQ(drift.cosines[2][1], 1.0 / std::sqrt(1.25));
  EXPECT_DOUBLE_EQ(drift.cosines[3][4], 1.0);
}

TEST_F(Summary, NothingIsDoneForARunWithoutSoup) {
  experiment_.data.shards.clear();
  summarise();
  EXPECT_FALSE(fs::exists(folder_));
}

TEST_F(Summary, AMissingPartIsNamed) {
  write_run();
  fs::remove(folder_ / "paragon-one-shard.ema.jsonl");
  EXPECT_THAT(refusal(), HasSubstr("paragon-one-shard.ema.jsonl"));
  EXPECT_FALSE(fs::exists(folder_ / "comparison.json"));
  EXPECT_FALSE(fs::exists(folder_ / "drift.json"));

  write_run();
  fs::remove_all(run_.path() / "ingredients/two");
  EXPECT_THAT(refusal(), HasSubstr("ingredients/two"));
  EXPECT_FALSE(fs::exists(folder_ / "drift.json"));
}

TEST_F(Summary, BrokenLinesAreNamed) {
  const fs::path path = folder_ / "ingredient-two.ema.jsonl";
  const auto with_line = [&](const std::string& line) {
    write_run();
    std::ofstream(path, std::ios::app) << line << '\n';
    return refusal();
  };
  // Four images, four losses and the summary come before it.
  for (const char* line : {"{\"type\": \"image\", \"ind", "not JSON", "[1, 2]", "{\"loss\": 1}", "{\"type\": 3}",
                           "{\"type\": \"denoising\", \"shard\": \"one\", \"image\": \"first\", \"loss\": 1}"}) {
    const std::string text = with_line(line);
    EXPECT_THAT(text, HasSubstr(path.string())) << line;
    EXPECT_THAT(text, HasSubstr("line 10")) << line;
    EXPECT_FALSE(fs::exists(folder_ / "comparison.json")) << line;
  }
  // Cut off before its summary, as by a full disk.
  write_run();
  const std::string whole = read_file(path);
  write_file_atomically(path, whole.substr(0, whole.find("{\"denoising_by_shard\"")));
  EXPECT_THAT(refusal(), HasSubstr("no summary line"));
}

TEST_F(Summary, RecordsOfOtherPromptsOrImagesAreRefused) {
  write_run();
  write_scores("base", "raw", {0.5, 0.5, 0.5}, {1, 1, 1, 1});
  EXPECT_THAT(refusal(), HasSubstr("soup and base were evaluated on different prompts or images"));
  write_run();
  write_scores("soup/without-two", "ema", {0.5, 0.5, 0.5, 0.5}, {1, 1, 1});
  EXPECT_THAT(refusal(), HasSubstr("soup and soup/without-two were evaluated on different"));
}

}  // namespace
}  // namespace soup
