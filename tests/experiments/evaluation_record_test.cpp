// Records survive the disk; summaries leave out what does not apply; broken files are refused.
#include "experiments/evaluation_record.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

ModelRecord sample() {
  ModelRecord record;
  record.model = "paragon/equal-total";
  record.weights = "ema";
  record.key = "abc";
  record.images = {{0,
                    "apps x, red style",
                    "apps x",
                    "red",
                    "apps",
                    true,
                    "apps",
                    "red",
                    {{"alignment", 0.25}, {"style_accuracy", 1.0}}},
                   {1,
                    "apps y \"quoted\" é",
                    "apps y",
                    "red",
                    "apps",
                    false,
                    "places",
                    "blue",
                    {{"alignment", 0.75}, {"style_accuracy", std::nan("")}}}};
  record.denoising = {{"a", 3, 0.5}, {"a", 5, 1.5}, {"b", 1, 4.0}};
  record.seconds = 2.5;
  summarise(record, 100, SeedTree(1).stream("bootstrap", "", 0));
  return record;
}

TEST(EvaluationRecord, SummaryLeavesOutWhatDoesNotApply) {
  const ModelRecord record = sample();
  EXPECT_DOUBLE_EQ(record.scores.at("alignment").value, 0.5);
  EXPECT_EQ(record.scores.at("style_accuracy").value, 1.0);
  EXPECT_EQ(record.scores.at("style_accuracy").count, 1U);
  EXPECT_FALSE(record.scores.contains("context_accuracy"));
  EXPECT_FALSE(record.scores.contains("kernel_distance"));
  EXPECT_DOUBLE_EQ(record.scores.at("denoising_loss").value, 2.0);
  EXPECT_DOUBLE_EQ(record.denoising_by_shard.at("a").value, 1.0);
  EXPECT_DOUBLE_EQ(record.denoising_by_shard.at("b").value, 4.0);
}

TEST(EvaluationRecord, SurvivesTheDisk) {
  const test::TemporaryFolder folder;
  const ModelRecord written = sample();
  write_record(folder.path(), written);
  const ModelRecord read = read_record(folder.path() / "paragon-equal-total.ema.jsonl");
  EXPECT_EQ(read.model, written.model);
  EXPECT_EQ(read.weights, "ema");
  EXPECT_EQ(read.key, "abc");
  EXPECT_EQ(read.seconds, 2.5);
  ASSERT_EQ(read.images.size(), 2U);
  EXPECT_EQ(read.images[1].prompt, written.images[1].prompt);
  EXPECT_EQ(read.images[1].predicted_context, "places");
  EXPECT_TRUE(std::isnan(read.images[1].scores.at("style_accuracy")));
  ASSERT_EQ(read.denoising.size(), 3U);
  EXPECT_EQ(read.denoising[1].image, 5U);
  EXPECT_EQ(read.scores.at("alignment").standard_error, written.scores.at("alignment").standard_error);
  EXPECT_THAT(sample_values(read, "denoising_loss"), testing::ElementsAre(0.5, 1.5, 4.0));
  EXPECT_THAT(sample_values(read, "alignment"), testing::ElementsAre(0.25, 0.75));
  EXPECT_TRUE(sample_values(read, "kernel_distance").empty());
}

TEST(EvaluationRecord, TornOrForeignFilesAreRefused) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "x.jsonl";
  for (const char* content : {"", "not json\n", "{\"type\": \"image\"}\n", "[1]\n",
                              "{\"type\":\"denoising\",\"shard\":\"a\",\"image\":1,\"loss\":2}\n"}) {
    write_file_atomically(path, content);
    EXPECT_THROW(static_cast<void>(read_record(path)), DataError) << content;
  }
  EXPECT_THROW(static_cast<void>(read_record(folder.path() / "absent.jsonl")), DataError);
}

TEST(Comparisons, SurviveTheDisk) {
  const test::TemporaryFolder folder;
  write_comparisons(folder.path(), {{"soup", "base", "raw", {{"alignment", {0.1, 0.02, 64}}}}});
  const std::vector<Comparison> read = read_comparisons(folder.path() / "comparison.json");
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0].second, "base");
  EXPECT_EQ(read[0].differences.at("alignment").standard_error, 0.02);
  write_file_atomically(folder.path() / "comparison.json", "{}");
  EXPECT_THROW(static_cast<void>(read_comparisons(folder.path() / "comparison.json")), DataError);
}

TEST(ScoreKinds, AreFoundByName) {
  EXPECT_FALSE(find_score_kind("kernel_distance")->higher_is_better);
  EXPECT_TRUE(find_score_kind("alignment")->higher_is_better);
  EXPECT_EQ(find_score_kind("beauty"), nullptr);
}

}  // namespace
}  // namespace soup
