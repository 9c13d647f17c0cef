// Evaluation of tiny models from end to end: the same prompts and noise for all, exact where the answer is known.
#include "experiments/evaluation.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/comparison.hpp"
#include "experiments/frechet.hpp"
#include "experiments/model_score.hpp"
#include "experiments/scorer_training.hpp"
#include "tests/experiments/shards.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/trainer/tiny.hpp"

namespace soup {
namespace {

class EvaluationTest : public testing::Test {
 protected:
  void SetUp() override {
    shards.push_back(test::make_shard(folder.path(), "red", "red", 60, 8, 250, 30, 0));
    shards.push_back(test::make_shard(folder.path(), "green", "green", 60, 8, 30, 250, 0));
    config.prompts = 6;
    config.sampling.sampler.steps = 2;
    config.grid_prompts = 4;
    config.denoising_images = 8;
    config.bootstrap = 50;
  }

  void train_tiny_scorer() {
    ScorerConfig scorer;
    scorer.channels = {8, 16};
    scorer.vocab_size = 600;
    scorer.text_width = 16;
    scorer.text_layers = 1;
    scorer.text_heads = 2;
    scorer.embedding = 8;
    scorer.images = 640;
    scorer.batch = 32;
    scorer.held_out = held_out;
    train_scorer(scorer, shards, SeedTree(1), sha256("key"), log, folder.path() / "scorer");
    config.scorer = folder.path() / "scorer";
  }

  // A fresh model of a few thousand weights.
  std::filesystem::path model(const std::string& name, std::uint64_t seed) {
    ModelConfig tiny = test::tiny_config();
    const std::vector<std::string> captions = {"apps thing, red style", "places thing, green style"};
    auto tokenizer = std::make_shared<Tokenizer>(Tokenizer::learn(captions, 540, 16));
    tiny.text_encoder.vocab_size = tokenizer->vocab_size();
    tiny.text_encoder.max_position_embeddings = tokenizer->max_length();
    tiny.text_encoder.num_hidden_layers = layers;
    const std::filesystem::path path = folder.path() / name;
    std::filesystem::create_directories(path);
    save_model(path, make_model(tiny, tokenizer, SeedTree(seed)), {});
    return path;
  }

  [[nodiscard]] Evaluation evaluation(const std::string& key = "key") const {
    return {config, shards, held_out, SeedTree(4), folder.path() / "evaluation", key};
  }
  [[nodiscard]] ModelRecord record(const std::string& stem) const {
    return read_record(folder.path() / "evaluation" / (stem + ".jsonl"));
  }

  test::TemporaryFolder folder;
  std::int64_t layers = 1;  // of model()'s text encoder
  std::vector<ShardFile> shards;
  HeldOut held_out{0.3, 1};
  EvaluationConfig config;
  Log log{1};
};

TEST_F(EvaluationTest, WritesScoresPictureAndFeatures) {
  train_tiny_scorer();
  const Evaluation subject = evaluation();
  subject.evaluate_real(log);
  subject.evaluate({"ingredient/red", {model("a", 1)}, WeightSet::raw}, log);
  const ModelRecord made = record("ingredient-red.raw");
  ASSERT_EQ(made.images.size(), 6U);
  EXPECT_EQ(made.denoising.size(), 8U);
  EXPECT_THAT(made.denoising_by_shard, testing::SizeIs(2));
  for (const char* score : {"alignment", "retrieval_rank", "context_accuracy", "style_accuracy", "kernel_distance",
                            "frechet_distance", "denoising_loss"}) {
    ASSERT_TRUE(made.scores.contains(score)) << score;
    EXPECT_TRUE(std::isfinite(made.scores.at(score).value)) << score;
  }
  for (const ImageRecord& image : made.images) {
    EXPECT_LE(std::abs(image.scores.at("alignment")), 1.0 + 1e-6);
    EXPECT_EQ(std::isnan(image.scores.at("style_accuracy")), !image.with_style);
  }
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "evaluation" / "ingredient-red.raw.png"));
  EXPECT_EQ(read_features(features_path(folder.path() / "evaluation", "ingredient-red.raw")).rows, 6U);
  // Real icons are the reference's own kind, a fresh model's noise is not.
  EXPECT_LT(record("real").scores.at("frechet_distance").value, made.scores.at("frechet_distance").value);
  EXPECT_TRUE(record("real").denoising.empty());
}

TEST_F(EvaluationTest, ScoresOneModelAsInTheRecord) {
  train_tiny_scorer();
  const std::filesystem::path a = model("a", 1);
  evaluation().evaluate({"soup", {a}, WeightSet::raw}, log);
  const ModelRecord expected = record("soup.raw");
  const auto score = [&](const std::string& measure, Half half) {
    return score_model(config, shards, held_out, SeedTree(4), a, {measure, WeightSet::raw, half});
  };
  // Single-precision products, added in another order.
  EXPECT_THAT(score("alignment", Half::all),
              testing::Pointwise(testing::DoubleNear(1e-6), sample_values(expected, "alignment")));
  const std::vector<double> losses = score("denoising_loss", Half::all);
  EXPECT_EQ(losses, sample_values(expected, "denoising_loss"));
  // Two shards: items 0 to 3 are the first half, 4 to 7 the second.
  EXPECT_EQ(score("denoising_loss", Half::first), std::vector(losses.begin(), losses.begin() + 4));
  EXPECT_EQ(score("denoising_loss", Half::second).size(), 4U);
  EXPECT_THROW(score("beauty", Half::all), ConfigError);
  config.denoising_images = 5;  // one item is left to the second half
  EXPECT_THROW(score("denoising_loss", Half::second), DataError);
  config.scorer.clear();
  EXPECT_THROW(score("alignment", Half::all), ConfigError);
}

TEST(Halves, ShareOutTheItems) {
  for (const std::size_t shards : {1U, 3U, 4U}) {
    std::vector<std::size_t> both = items_of_half(50, shards, Half::first);
    const std::vector<std::size_t> second = items_of_half(50, shards, Half::second);
    EXPECT_NEAR(static_cast<double>(both.size()), 25.0, 2.0 * static_cast<double>(shards));
    both.insert(both.end(), second.begin(), second.end());
    std::ranges::sort(both);
    EXPECT_EQ(both, items_of_half(50, shards, Half::all));
  }
  EXPECT_THAT(items_of_half(10, 2, Half::first), testing::ElementsAre(0, 1, 2, 3, 8, 9));
}

TEST_F(EvaluationTest, AnEnsembleOfEqualModelsIsTheModel) {
  train_tiny_scorer();
  const Evaluation subject = evaluation();
  const std::filesystem::path a = model("a", 1);
  subject.evaluate({"soup", {a}, WeightSet::raw}, log);
  subject.evaluate({"ensemble", {a, a, a, a}, WeightSet::raw}, log);  // a quarter of four equal numbers is exact
  const ModelRecord one = record("soup.raw");
  const ModelRecord all = record("ensemble.raw");
  EXPECT_EQ(sample_values(one, "alignment"), sample_values(all, "alignment"));
  EXPECT_EQ(read_file(folder.path() / "evaluation" / "soup.raw.png"),
            read_file(folder.path() / "evaluation" / "ensemble.raw.png"));
  EXPECT_TRUE(all.denoising.empty());

  const Comparison same = compare(one, all, folder.path() / "evaluation", 50, SeedTree(4));
  EXPECT_EQ(same.differences.at("alignment").value, 0.0);
  EXPECT_EQ(same.differences.at("alignment").standard_error, 0.0);
  EXPECT_EQ(same.differences.at("kernel_distance").standard_error, 0.0);
  EXPECT_FALSE(same.differences.contains("denoising_loss"));
}

TEST_F(EvaluationTest, ComparisonsArePairedDifferences) {
  train_tiny_scorer();
  const Evaluation subject = evaluation();
  for (const WeightSet weights : {WeightSet::raw, WeightSet::ema}) {
    subject.evaluate({"soup", {model("a", 1)}, weights}, log);
    subject.evaluate({"base", {model("b", 2)}, weights}, log);
  }
  const auto folder_path = folder.path() / "evaluation";
  const std::vector<Comparison> all = compare_all(folder_path, "soup", {"base", "soup"}, 200, SeedTree(4));
  ASSERT_EQ(all.size(), 2U);
  for (const Comparison& comparison : all) {
    EXPECT_EQ(comparison.second, "base");
    const ModelRecord soup = record("soup." + comparison.weights);
    const ModelRecord base = record("base." + comparison.weights);
    for (const char* score : {"alignment", "denoising_loss", "kernel_distance", "frechet_distance"}) {
      EXPECT_NEAR(comparison.differences.at(score).value, soup.scores.at(score).value - base.scores.at(score).value,
                  1e-9)
          << score;
    }
    EXPECT_GT(comparison.differences.at("denoising_loss").standard_error, 0.0);
  }
  ModelRecord other = record("base.raw");
  other.images[2].prompt = "something else";
  EXPECT_THROW(static_cast<void>(compare(record("soup.raw"), other, folder_path, 50, SeedTree(4))), DataError);
}

TEST_F(EvaluationTest, SkipsWhatIsDoneWithTheSameKeyOnly) {
  const std::filesystem::path a = model("a", 1);
  evaluation("one").evaluate({"soup", {a}, WeightSet::raw}, log);
  EXPECT_TRUE(evaluation("one").is_complete("soup", "raw"));
  EXPECT_FALSE(evaluation("two").is_complete("soup", "raw"));
  std::filesystem::remove_all(a);
  EXPECT_NO_THROW(evaluation("one").evaluate({"soup", {a}, WeightSet::raw}, log));
  EXPECT_THROW(evaluation("two").evaluate({"soup", {a}, WeightSet::raw}, log), DataError);
}

TEST_F(EvaluationTest, AModelWithoutEmaWeightsIsEvaluatedOnce) {
  train_tiny_scorer();
  const std::filesystem::path a = model("a", 1);
  ASSERT_FALSE(has_ema_weights(a));
  evaluation("key").evaluate({"base", {a}, WeightSet::raw}, log);
  std::filesystem::remove_all(a / "unet");  // not needed again
  evaluation("key").evaluate({"base", {a}, WeightSet::ema}, log);
  const ModelRecord raw = record("base.raw");
  const ModelRecord ema = record("base.ema");
  EXPECT_EQ(ema.weights, "ema");
  EXPECT_EQ(sample_values(ema, "alignment"), sample_values(raw, "alignment"));
  for (const std::string extension : {".png", ".safetensors"}) {
    EXPECT_EQ(read_file(folder.path() / "evaluation" / ("base.ema" + extension)),
              read_file(folder.path() / "evaluation" / ("base.raw" + extension)));
  }

  const std::filesystem::path b = model("b", 2);
  std::filesystem::copy(b / "unet", b / "unet_ema", std::filesystem::copy_options::recursive);
  EXPECT_TRUE(has_ema_weights(b));
  evaluation("key").evaluate({"soup", {b}, WeightSet::raw}, log);
  std::filesystem::remove_all(b / "unet_ema" / "diffusion_pytorch_model.safetensors");
  EXPECT_THROW(evaluation("key").evaluate({"soup", {b}, WeightSet::ema}, log), DataError);
}

TEST_F(EvaluationTest, WithoutScorerKeepsPicturesAndLosses) {
  const Evaluation subject = evaluation();
  subject.evaluate_real(log);
  subject.evaluate({"soup", {model("a", 1)}, WeightSet::ema}, log);
  const ModelRecord made = record("soup.ema");
  EXPECT_FALSE(made.scores.contains("alignment"));
  EXPECT_TRUE(made.scores.contains("denoising_loss"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "evaluation" / "soup.ema.png"));
}

TEST_F(EvaluationTest, TakesImagesOfSeveralSizes) {
  train_tiny_scorer();
  shards.push_back(test::make_shard(folder.path(), "blue", "blue", 60, {{8, 8}, {4, 12}, {12, 4}}, 30, 30, 250));
  shards.push_back(test::make_shard(folder.path(), "wide", "wide", 60, {{4, 16}}, 250, 30, 250));
  config.prompts = 12;
  config.denoising_images = 24;
  const std::filesystem::path a = model("a", 1);
  const Evaluation subject = evaluation();
  subject.evaluate_real(log);
  subject.evaluate({"soup", {a}, WeightSet::raw}, log);
  const ModelRecord made = record("soup.raw");
  ASSERT_EQ(made.images.size(), 12U);
  ASSERT_EQ(made.denoising.size(), 24U);
  EXPECT_THAT(made.denoising_by_shard, testing::SizeIs(4));
  for (const DenoisingRecord& image : made.denoising) {
    EXPECT_TRUE(std::isfinite(image.loss));
  }
  EXPECT_TRUE(std::isfinite(record("real").scores.at("kernel_distance").value));
  // Every picture's cells are squares of one size.
  const auto grid_bytes = [&](const char* name) {
    return read_file(folder.path() / "evaluation" / (std::string(name) + ".png")).substr(16, 8);
  };
  EXPECT_EQ(grid_bytes("real"), grid_bytes("soup.raw"));
  EXPECT_EQ(score_model(config, shards, held_out, SeedTree(4), a, {}), sample_values(made, "denoising_loss"));
}

TEST_F(EvaluationTest, TheIngredientsLayerOfTheTextEncoderIsUsed) {
  train_tiny_scorer();
  layers = 2;
  const std::filesystem::path a = model("a", 1);
  const auto evaluated = [&](std::int64_t clip_skip) {
    config.sampling.clip_skip = clip_skip;
    const Evaluation subject = evaluation(std::to_string(clip_skip));
    subject.evaluate({"soup", {a}, WeightSet::raw}, log);
    subject.evaluate({"ensemble", {a, a}, WeightSet::raw}, log);
    EXPECT_EQ(sample_values(record("soup.raw"), "alignment"), sample_values(record("ensemble.raw"), "alignment"));
    return record("soup.raw");
  };
  const ModelRecord last = evaluated(1);
  const ModelRecord before = evaluated(2);
  EXPECT_NE(sample_values(before, "denoising_loss"), sample_values(last, "denoising_loss"));
  EXPECT_NE(sample_values(before, "alignment"), sample_values(last, "alignment"));
  EXPECT_EQ(score_model(config, shards, held_out, SeedTree(4), a, {}), sample_values(before, "denoising_loss"));

  // A model whose last layer does nothing is the same at both.
  DiffusionModel model = load_model(a);
  {
    const at::NoGradGuard no_grad;
    for (const auto& parameter : model.text_encoder->named_parameters()) {
      if (parameter.key().find("layers.1.") != std::string::npos) {
        parameter.value().zero_();
      }
    }
  }
  std::filesystem::create_directories(folder.path() / "b");
  save_model(folder.path() / "b", model, {});
  const auto losses = [&](std::int64_t clip_skip) {
    config.sampling.clip_skip = clip_skip;
    return score_model(config, shards, held_out, SeedTree(4), folder.path() / "b", {});
  };
  EXPECT_EQ(losses(1), losses(2));
}

}  // namespace
}  // namespace soup
