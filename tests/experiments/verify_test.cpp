// `soup verify` finds every changed byte of shards, models and soups, and says good to what is as it was promised.
#include "experiments/verify.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/safetensors.hpp"
#include "data/shard_file.hpp"
#include "data/shard_writer.hpp"
#include "experiments/stage.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/merge_files.hpp"
#include "merge/weights_digest.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* weights_file = "unet/diffusion_pytorch_model.safetensors";

void write_model(const fs::path& folder, const std::vector<float>& weights) {
  fs::create_directories(folder / "unet");
  write_file_atomically(folder / "model_index.json",
                        R"({"_class_name": "X", "unet": ["diffusers", "UNet2DConditionModel"]})");
  write_file_atomically(folder / "unet/config.json", "{}");
  const std::vector<TensorSource> tensors = {
      {"w", DType::f32, {static_cast<std::int64_t>(weights.size())}, std::as_bytes(std::span(weights))}};
  write_safetensors(folder / weights_file, tensors, {});
}

void write_shard(const fs::path& file, std::uint8_t first_pixel) {
  fs::create_directories(file.parent_path());
  ShardWriter writer(file, {.name = "one", .source = "test", .package = "", .licence = ""}, 16, 16, 3);
  for (std::uint8_t i = 0; i < 3; ++i) {
    Image image{16, 16, 3, std::vector<std::uint8_t>(16 * 16 * 3, static_cast<std::uint8_t>(first_pixel + i))};
    image.pixels[0] = 200;
    writer.append({image, "caption", "key" + std::to_string(i), "style", "source"});
  }
  writer.finish();
}

void flip_last_byte(const fs::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-1, std::ios::end);
  const char byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(-1, std::ios::end);
  stream.put(byte);
}

std::size_t bad(const std::vector<Finding>& findings) {
  return static_cast<std::size_t>(std::ranges::count(findings, FindingState::bad, &Finding::state));
}

bool says(const std::vector<Finding>& findings, FindingState state, const std::string& text) {
  return std::ranges::any_of(findings, [&](const Finding& finding) {
    return finding.state == state && finding.detail.find(text) != std::string::npos;
  });
}

class VerifyTest : public testing::Test {
 protected:
  fs::path path(const std::string& name) { return folder_.path() / name; }
  test::TemporaryFolder folder_;
};

TEST_F(VerifyTest, MakesASoupAgain) {
  write_model(path("a"), {1.0F, 2.0F, -3.0F});
  write_model(path("b"), {0.1F, 0.2F, 0.3F});
  merge({{"a", path("a"), 1}, {"b", path("b"), 2}}, path("soup"));
  std::vector<Finding> findings = verify(path("soup"));
  EXPECT_EQ(bad(findings), 0U);
  EXPECT_TRUE(says(findings, FindingState::good, "the same bits again from 2 ingredients, total weight 3"));
  EXPECT_TRUE(says(findings, FindingState::not_checked, "what ingredient a was trained on"));

  write_model(path("b"), {0.1F, 0.2F, 0.30000004F});
  findings = verify(path("soup"));
  EXPECT_EQ(bad(findings), 1U) << "an ingredient has changed";
  write_model(path("b"), {0.1F, 0.2F, 0.3F});
  EXPECT_EQ(bad(verify(path("soup"))), 0U);

  flip_last_byte(path("soup") / weights_file);
  findings = verify(path("soup"));
  EXPECT_EQ(bad(findings), 2U) << "the soup has changed, and is not what its sums give";
  EXPECT_TRUE(says(findings, FindingState::bad, "was promised"));
}

TEST_F(VerifyTest, ComparesAModelWithItsRecord) {
  write_model(path("m"), {1.0F, 2.0F});
  EXPECT_EQ(bad(verify(path("m"))), 0U) << "a model made elsewhere promises nothing";
  IngredientRecord record;
  record.name = "m";
  record.base_digest = sha256("base");
  record.images = 1;
  record.trained_parts = {"unet"};
  record.weights = part_digests(path("m"));
  write_ingredient_record(path("m"), record);
  EXPECT_EQ(bad(verify(path("m"))), 0U);
  flip_last_byte(path("m") / weights_file);
  EXPECT_EQ(bad(verify(path("m"))), 1U);
}

TEST_F(VerifyTest, RecomputesAShardFile) {
  write_shard(path("s.h5"), 10);
  const std::vector<Finding> findings = verify(path("s.h5"));
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_TRUE(findings[0].good()) << findings[0].detail;
  EXPECT_THAT(findings[0].detail, HasSubstr("3 images"));
}

TEST_F(VerifyTest, WalksTheStagesOfARun) {
  const fs::path run = path("run");
  const Experiment experiment = test::load(folder_.path(), test::small_yaml);
  write_shard(run / "data/one/shard.h5", 10);
  write_file_atomically(run / "experiment.yaml", to_yaml(experiment));
  write_done(run / "data/one", {.key = sha256("k"), .result = ShardFile(run / "data/one/shard.h5").root()});
  write_model(run / "base", {0.5F, 0.25F});
  const Digest base = model_digest(part_digests(run / "base"));
  write_done(run / "base", {.key = sha256("k"), .result = base});
  write_model(run / "ingredients/one", {0.5F, 0.75F});
  IngredientRecord record;
  record.name = "one";
  record.base_digest = base;
  record.images = 32;
  record.trained_parts = {"unet"};
  record.weights = part_digests(run / "ingredients/one");
  write_ingredient_record(run / "ingredients/one", record);
  write_done(run / "ingredients/one", {.key = sha256("k"), .result = model_digest(record.weights)});
  fs::create_directories(run / "duplicates");
  write_file_atomically(exclusion_file(run, "one"), "[]");
  StageRecord duplicates{.key = sha256("k"), .result = {}, .parts = {{"one", sha256("[]")}}};
  duplicates.result = digest_of_parts(duplicates.parts);
  write_done(run / "duplicates", duplicates);

  const std::vector<Finding> findings = verify(run);
  EXPECT_EQ(findings.size(), 5U) << "shard, duplicates, base, ingredient, and the ingredient's origin";
  for (const Finding& finding : findings) {
    EXPECT_TRUE(finding.good()) << finding.what << ": " << finding.detail;
  }

  write_file_atomically(exclusion_file(run, "one"), "[1]");
  EXPECT_EQ(bad(verify(run)), 1U);
  write_file_atomically(exclusion_file(run, "one"), "[]");
  write_shard(run / "data/one/shard.h5", 11);
  EXPECT_EQ(bad(verify(run)), 1U) << "a shard file of other images";
  write_shard(run / "data/one/shard.h5", 10);
  flip_last_byte(run / "base" / weights_file);
  EXPECT_EQ(bad(verify(run)), 1U);
  write_model(run / "base", {0.5F, 0.25F});
  record.base_digest = sha256("another base");
  write_ingredient_record(run / "ingredients/one", record);
  EXPECT_EQ(bad(verify(run)), 1U);
  record.base_digest = base;
  write_ingredient_record(run / "ingredients/one", record);
  EXPECT_EQ(bad(verify(run)), 0U);
  write_file_atomically(run / "base/DONE", "{}");
  EXPECT_EQ(bad(verify(run)), 1U) << "a DONE file that is none";
}

TEST_F(VerifyTest, RefusesWhatCarriesNoDigest) {
  write_file_atomically(path("text.txt"), "hello");
  EXPECT_THROW(verify(path("text.txt")), DataError);
  EXPECT_THROW(verify(path("none")), DataError);
  EXPECT_THROW(verify(folder_.path()), DataError);
  write_file_atomically(path("experiment.yaml"), test::small_yaml);
  EXPECT_THROW(verify(folder_.path()), DataError) << "a run without a finished stage";
}

}  // namespace
}  // namespace soup
