// The stages of an experiment: their list, what enters their keys, and their DONE files.
#include "experiments/stage.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class StageTest : public testing::Test {
 protected:
  Experiment load(const std::vector<std::string>& overrides = {}) {
    Experiment experiment = test::load(yaml_.path(), test::small_yaml, overrides);
    experiment.run_folder = run_.path();
    return experiment;
  }

  // Runs what is not done, pretending: the result is a digest of the stage's name and key. Returns the names.
  std::set<std::string> run(const Experiment& experiment) {
    std::set<std::string> ran;
    const std::vector<Stage> stages = stages_of(experiment);
    for (const Stage& stage : stages) {
      if (is_done(stage, stages, run_.path())) {
        continue;
      }
      const auto key = stage_key(stage, stages, run_.path());
      EXPECT_TRUE(key.has_value()) << stage.name << " runs before its inputs";
      StageRecord record{
          .key = *key, .result = sha256(stage.name + key->hex()), .seconds = 1.0, .images = stage.images};
      if (stage.kind == StageKind::duplicates) {
        // Each shard's own list depends on nothing here: no shard shares an image with another.
        for (const ShardSpec& shard : experiment.data.shards) {
          record.parts[shard.name] = sha256("nothing dropped");
        }
        for (const auto& [name, digest] : changed_parts_) {
          record.parts[name] = digest;
        }
      }
      std::filesystem::create_directories(run_.path() / stage.folder);
      write_done(run_.path() / stage.folder, record);
      ran.insert(stage.name);
    }
    return ran;
  }

  std::set<std::string> rerun_after(const std::vector<std::string>& overrides) {
    run(load());
    return run(load(overrides));
  }

  test::TemporaryFolder yaml_;
  test::TemporaryFolder run_;
  std::map<std::string, Digest> changed_parts_;
};

TEST_F(StageTest, ListsAllInOrderOfExecution) {
  std::vector<std::string> names;
  std::set<std::filesystem::path> folders;
  for (const Stage& stage : stages_of(load())) {
    names.push_back(stage.name);
    EXPECT_TRUE(folders.insert(stage.folder).second) << stage.folder;
    EXPECT_TRUE(stage.folder.is_relative());
  }
  EXPECT_THAT(names, ElementsAre("import/base.zero", "import/one", "import/two", "duplicates", "base", "ingredient/one",
                                 "ingredient/two", "soup", "soup/without-one", "soup/without-two",
                                 "paragon/equal-total", "paragon/one-shard", "evaluate", "report"));
}

TEST_F(StageTest, EndsAfterTheBaseWithoutShards) {
  std::vector<std::string> names;
  for (const Stage& stage : stages_of(load({"data.shards=[]"}))) {
    names.push_back(stage.name);
  }
  EXPECT_THAT(names, ElementsAre("import/base.zero", "base"));
}

TEST_F(StageTest, LeavesOutWhatIsNotWanted) {
  std::set<std::string> names;
  for (const Stage& stage : stages_of(load({"soup.leave_one_out=false", "paragon.one_shard=false"}))) {
    names.insert(stage.name);
  }
  EXPECT_FALSE(names.contains("soup/without-one"));
  EXPECT_FALSE(names.contains("paragon/one-shard"));
  EXPECT_TRUE(names.contains("paragon/equal-total"));
}

TEST_F(StageTest, ParagonSeesAsManyImagesAsAllIngredients) {
  const Experiment experiment = load({"paragon.learning_rate=0.5"});
  std::uint64_t ingredients = 0;
  for (const Stage& stage : stages_of(experiment)) {
    ingredients += stage.kind == StageKind::ingredient ? stage.images : 0;
    if (stage.name == "paragon/equal-total") {
      EXPECT_EQ(stage.images, ingredients);
      EXPECT_EQ(train_config_of(stage, experiment).images, ingredients);
      EXPECT_EQ(train_config_of(stage, experiment).learning_rate, 0.5);
    } else if (stage.name == "paragon/one-shard") {
      EXPECT_EQ(stage.images, experiment.ingredients.images);
    } else if (stage.kind == StageKind::ingredient) {
      EXPECT_EQ(train_config_of(stage, experiment).learning_rate, experiment.ingredients.learning_rate);
    }
  }
  EXPECT_EQ(ingredients, 64U);
}

TEST_F(StageTest, SecondRunDoesNothing) {
  EXPECT_EQ(run(load()).size(), 14U);
  EXPECT_THAT(run(load()), IsEmpty());
}

TEST_F(StageTest, ReRunsOnlyWhatASettingDecides) {
  using Names = std::set<std::string>;
  EXPECT_THAT(rerun_after({"ingredients.checkpoint_images=16", "ingredients.log_images=16",
                           "ingredients.validate_images=16", "ingredients.snapshots=true", "base.train.log_images=16"}),
              IsEmpty());
  EXPECT_THAT(rerun_after({"launch.ranks_per_group=2", "launch.threads_per_rank=3", "launch.deadline_seconds=9"}),
              IsEmpty());
  EXPECT_EQ(rerun_after({"evaluation.prompts=9"}), (Names{"evaluate", "report"}));
  EXPECT_EQ(rerun_after({"name=renamed"}), (Names{"report"}));
  EXPECT_EQ(rerun_after({"data.shards[1].weight=4"}), (Names{"soup", "soup/without-one", "evaluate", "report"}));
  EXPECT_EQ(rerun_after({"soup.scale_bits=40"}),
            (Names{"soup", "soup/without-one", "soup/without-two", "evaluate", "report"}));
  EXPECT_EQ(rerun_after({"paragon.learning_rate=0.5"}),
            (Names{"paragon/equal-total", "paragon/one-shard", "evaluate", "report"}));
  const Names trained = {"ingredient/one",    "ingredient/two",   "soup",
                         "soup/without-one",  "soup/without-two", "paragon/equal-total",
                         "paragon/one-shard", "evaluate",         "report"};
  EXPECT_EQ(rerun_after({"ingredients.learning_rate=0.5"}), trained);
  Names with_base = trained;
  with_base.insert("base");
  EXPECT_EQ(rerun_after({"base.train.learning_rate=0.5"}), with_base);
  EXPECT_EQ(rerun_after({"base.architecture.unet.layers_per_block=2"}), with_base);
  EXPECT_EQ(rerun_after({"data.held_out=0.25"}), with_base);
}

TEST_F(StageTest, ANewShardTrainsOnlyItself) {
  const std::string third =
      "data.shards=[{name: one, icon_theme: {package: one-icon-theme, theme: One}}, {name: two, weight: 3, icon_theme: "
      "{package: two-icon-theme, theme: Two, limit: 9}}, {name: three, icon_theme: {package: p, theme: T}}]";
  const std::set<std::string> ran = rerun_after({third});
  EXPECT_TRUE(ran.contains("ingredient/three"));
  EXPECT_TRUE(ran.contains("duplicates"));
  EXPECT_TRUE(ran.contains("soup"));
  EXPECT_TRUE(ran.contains("paragon/equal-total"));
  EXPECT_FALSE(ran.contains("ingredient/one"));
  EXPECT_FALSE(ran.contains("ingredient/two"));
  EXPECT_FALSE(ran.contains("base"));
}

TEST_F(StageTest, OnlyAnotherLayerOfTheTextEncoderIsInTheEvaluationsSettings) {
  const auto settings = [this](const std::vector<std::string>& overrides) {
    const std::vector<Stage> stages = stages_of(load(overrides));
    return std::ranges::find(stages, "evaluate", &Stage::name)->settings;
  };
  EXPECT_EQ(settings({"ingredients.clip_skip=1"}), settings({}));
  EXPECT_EQ(settings({"ingredients.clip_skip=2"}), settings({}) + "clip_skip: 2\n");
  EXPECT_EQ(load({"ingredients.clip_skip=2"}).evaluation.sampling.clip_skip, 2);
}

TEST_F(StageTest, ARemovedShardTrainsNothing) {
  const std::set<std::string> ran =
      rerun_after({"data.shards=[{name: one, icon_theme: {package: one-icon-theme, theme: One}}]", "paragon={}"});
  EXPECT_FALSE(ran.contains("ingredient/one"));
  EXPECT_TRUE(ran.contains("soup"));
}

TEST_F(StageTest, AShardThatLosesImagesIsTrainedAnew) {
  run(load());
  changed_parts_["two"] = sha256("image 3 dropped");
  const std::set<std::string> ran = run(load({"data.exact_duplicates=report"}));
  EXPECT_TRUE(ran.contains("ingredient/two"));
  EXPECT_FALSE(ran.contains("ingredient/one"));
}

TEST_F(StageTest, AStageAfterAStaleOneIsNotDone) {
  run(load());
  const Experiment changed = load({"ingredients.learning_rate=0.5"});
  const std::vector<Stage> stages = stages_of(changed);
  const auto named = [&stages](const std::string& name) { return *std::ranges::find(stages, name, &Stage::name); };
  EXPECT_FALSE(is_done(named("ingredient/one"), stages, run_.path()));
  EXPECT_FALSE(is_done(named("report"), stages, run_.path()));
  EXPECT_TRUE(stage_key(named("ingredient/one"), stages, run_.path()).has_value());
  EXPECT_FALSE(stage_key(named("soup"), stages, run_.path()).has_value());
}

TEST_F(StageTest, ASourceIsKnownByItsContentNotItsPlace) {
  const auto key_with_root = [this](const std::filesystem::path& root, const std::string& index) {
    std::filesystem::create_directories(root);
    write_file_atomically(root / "index.theme", index);
    const Experiment experiment = load({"data.shards[0].icon_theme.root=" + root.string()});
    const std::vector<Stage> stages = stages_of(experiment);
    return stage_key(*std::ranges::find(stages, "import/one", &Stage::name), stages, run_.path()).value();
  };
  const Digest first = key_with_root(yaml_.path() / "a", "[Icon Theme]\nName=One\n");
  EXPECT_EQ(key_with_root(yaml_.path() / "b", "[Icon Theme]\nName=One\n"), first);
  EXPECT_NE(key_with_root(yaml_.path() / "a", "[Icon Theme]\nName=Two\n"), first);
}

TEST_F(StageTest, ABaseModelIsKnownByItsFiles) {
  const std::filesystem::path model = yaml_.path() / "m";
  std::filesystem::create_directories(model / "unet");
  write_file_atomically(model / "model_index.json", "{}");
  write_file_atomically(model / "unet" / "weights", "1");
  const std::string yaml =
      "schema: 1\nname: x\ndata: {shards: [{name: a, file: a.h5}]}\nbase: {model: m}\n"
      "ingredients: {images: 32, warmup_images: 0}\n";
  const auto key = [&] {
    const std::vector<Stage> stages = stages_of(test::load(yaml_.path(), yaml));
    return stage_key(*std::ranges::find(stages, "base", &Stage::name), stages, run_.path()).value();
  };
  const Digest before = key();
  write_file_atomically(model / "notes.txt", "no part of the model");
  EXPECT_EQ(key(), before);
  write_file_atomically(model / "unet" / "weights", "2");
  EXPECT_NE(key(), before);
}

TEST_F(StageTest, DoneFilesReadBack) {
  const StageRecord record{
      .key = sha256("k"), .result = sha256("r"), .seconds = 1.25, .images = 7, .parts = {{"one", sha256("p")}}};
  write_done(run_.path(), record);
  const StageRecord back = read_done(run_.path()).value();
  EXPECT_EQ(back.key, record.key);
  EXPECT_EQ(back.result, record.result);
  EXPECT_EQ(back.seconds, record.seconds);
  EXPECT_EQ(back.images, record.images);
  EXPECT_EQ(back.parts, record.parts);
  EXPECT_FALSE(read_done(run_.path() / "none").has_value());
}

TEST_F(StageTest, BrokenDoneFilesAreNamed) {
  const std::string digest = std::string(64, 'a');
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"), std::string("{\"version\": 1}"),
                                  std::string("{\"version\": 2, \"key\": \"\"}"),
                                  "{\"version\": 1, \"key\": \"zz\", \"result\": \"" + digest +
                                      "\", \"seconds\": 1, \"images\": 1, \"parts\": {}}",
                                  "{\"version\": 1, \"key\": \"" + digest + "\", \"result\": \"" + digest +
                                      "\", \"seconds\": \"x\", \"images\": 1, \"parts\": {}}"}) {
    write_file_atomically(run_.path() / "DONE", text);
    try {
      read_done(run_.path());
      ADD_FAILURE() << "accepted: " << text;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr((run_.path() / "DONE").string())) << text;
    }
  }
}

}  // namespace
}  // namespace soup
