// Merges with a base that has no averaged weights, while the models that come from it have: its plain ones stand in.
#include <gmock/gmock.h>

#include "core/error.hpp"
#include "merge/edit.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/merge_files.hpp"
#include "merge/model_folder.hpp"
#include "merge/weights_digest.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LentAverages : public testing::Test {
 protected:
  void SetUp() override {
    a_ = test::make_ingredient(folder_.path(), "a", 1, {.with_record = false});
    b_ = test::make_ingredient(folder_.path(), "b", 1, {.with_record = false});
    base_ = test::make_ingredient(folder_.path(), "base", 3, {.with_record = false});
    base_.is_base = true;
    fs::remove_all(base_.path / "unet_ema");
    // The same base with its averages written out.
    full_ = base_;
    full_.path = folder_ / "full";
    fs::copy(base_.path, full_.path, fs::copy_options::recursive);
    fs::copy(full_.path / "unet", full_.path / "unet_ema", fs::copy_options::recursive);
  }

  Ledger merge_with(const MergeInput& base, const std::string& output, const MergeOptions& options = {}) {
    return merge({a_, b_, base}, folder_ / output, options);
  }

  test::TemporaryFolder folder_;
  MergeInput a_;
  MergeInput b_;
  MergeInput base_;
  MergeInput full_;
};

TEST_F(LentAverages, AMeanIsPulledBackToThePlainWeights) {
  const Ledger lent = merge_with(base_, "lent");
  EXPECT_EQ(lent.soup_digest(), merge_with(full_, "written").soup_digest());
  EXPECT_TRUE(lent.parts.contains("unet_ema"));
  EXPECT_EQ(lent.find("base")->parts.at("unet_ema").digest, lent.find("base")->parts.at("unet").digest);
}

TEST_F(LentAverages, MethodsStartFromThePlainWeights) {
  for (const char* method : {"task_arithmetic", "ties", "model_stock"}) {
    MergeOptions options;
    options.method = MethodSettings{method, {}, {}};
    const std::string name = method;
    EXPECT_EQ(merge_with(base_, name + "-lent", options).soup_digest(),
              merge_with(full_, name + "-written", options).soup_digest())
        << method;
  }
}

TEST_F(LentAverages, TheBaseCanBeTakenOutOfAMean) {
  merge_with(base_, "lent");
  const Ledger left = remove_ingredient(folder_ / "lent", "base", folder_ / "left", {}).ledger;
  const Ledger scratch = merge({a_, b_}, folder_ / "scratch");
  EXPECT_EQ(left.soup_digest(), scratch.soup_digest());
}

// As a soup is made again from its ledger, which has no mark for the base.
TEST_F(LentAverages, ABaseIsKnownByTheDigestThatOthersName) {
  const Digest digest = model_digest(part_digests(base_.path));
  for (MergeInput* input : {&a_, &b_}) {
    *input = test::make_ingredient(folder_.path(), input->name + "-recorded", 1);
    IngredientRecord record = find_ingredient_record(input->path).value();
    record.base_digest = digest;
    write_ingredient_record(input->path, record);
  }
  const Ledger made = merge_with(base_, "made");
  base_.is_base = false;
  EXPECT_EQ(merge_with(base_, "again").soup_digest(), made.soup_digest());
  EXPECT_EQ(made.base_digest, digest);
  // Another folder without a record is no base, and nothing is known of it.
  MergeInput other = test::make_ingredient(folder_.path(), "other", 1, {.with_record = false});
  fs::remove_all(other.path / "unet_ema");
  EXPECT_THAT(test::merge_refusal(folder_.path(), {a_, b_, other}, {}), HasSubstr("is not recorded"));
}

TEST_F(LentAverages, ConfigurationsAreCompared) {
  fs::remove(base_.path / "unet" / "config.json");
  EXPECT_THAT(test::merge_refusal(folder_.path(), {a_, b_, base_}, {}),
              HasSubstr("config.json is in a but not in base"));
}

TEST_F(LentAverages, OnlyABaseIsLentTo) {
  fs::remove_all(b_.path / "unet_ema");
  EXPECT_THAT(test::merge_refusal(folder_.path(), {a_, b_}, {}), HasSubstr("unet_ema is in a but not in b"));
  // What neither has is not lent.
  ModelFolder base = open_model(base_.path);
  lend_averages(open_model(b_.path), base);
  EXPECT_EQ(base.find("unet_ema"), nullptr);
  EXPECT_TRUE(base.stand_ins.empty());
}

}  // namespace
}  // namespace soup
