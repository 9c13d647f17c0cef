// An experiment's YAML as a value: defaults, what follows from what, checks between keys, canonical text, digest.
#include "experiments/experiment.hpp"

#include <gmock/gmock.h>

#include <cstdlib>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using test::small_yaml;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

const std::filesystem::path source_folder = SOUP_SOURCE_DIR;

class ExperimentTest : public testing::Test {
 protected:
  Experiment load(const std::vector<std::string>& overrides = {}) {
    return test::load(folder_.path(), small_yaml, overrides);
  }
  std::string refusal(const std::vector<std::string>& overrides) {
    return test::refusal(folder_.path(), small_yaml, overrides);
  }
  std::string refusal_of(const std::string& yaml) { return test::refusal(folder_.path(), yaml); }

  test::TemporaryFolder folder_;
};

TEST_F(ExperimentTest, FillsInWhatFollows) {
  const Experiment e = load();
  EXPECT_EQ(e.run_folder, "runs/small");
  EXPECT_EQ(e.base.architecture.unet.sample_size, 8);
  EXPECT_EQ(e.base.architecture.unet.in_channels, 12);
  EXPECT_EQ(e.base.architecture.unet.out_channels, 12);
  EXPECT_EQ(e.base.architecture.unet.cross_attention_dim, 32);
  EXPECT_TRUE(e.base.train.train_text_encoder);
  EXPECT_FALSE(e.ingredients.train_text_encoder);
  EXPECT_EQ(e.data.shards[1].weight, 3);
  const auto& theme = std::get<IconThemeSource>(e.data.shards[0].source);
  EXPECT_EQ(e.data.shards[0].theme, "One");
  EXPECT_EQ(theme.style, "one");
  EXPECT_EQ(theme.root, ".deps/icons/one-icon-theme/usr/share/icons/One");
}

TEST_F(ExperimentTest, AppliesOverrides) {
  const Experiment e = load({"seed=9", "data.shards[0].weight=7", "ingredients.learning_rate=0.25",
                             "base.architecture.autoencoder=identity", "launch={ranks_per_group: 2}"});
  EXPECT_EQ(e.seed, 9U);
  EXPECT_EQ(e.data.shards[0].weight, 7);
  EXPECT_EQ(e.ingredients.learning_rate, 0.25);
  EXPECT_EQ(e.base.architecture.unet.sample_size, 16);
  EXPECT_EQ(e.base.architecture.unet.in_channels, 3);
  EXPECT_EQ(e.launch.ranks_per_group, 2);
  EXPECT_THAT(refusal({"ingredients.batch=x"}),
              StartsWith("--set ingredients.batch=x: ingredients.batch: expected an integer, got \"x\""));
  EXPECT_THAT(refusal({"ingredients.bach=1"}),
              AllOf(StartsWith("--set ingredients.bach=1: ingredients.bach: unknown key"), HasSubstr("\"batch\"")));
}

TEST_F(ExperimentTest, ModelsAreEvaluatedWithTheTextStatesTheyWereTrainedWith) {
  EXPECT_EQ(load({"ingredients.clip_skip=2"}).evaluation.sampling.clip_skip, 2);
}

TEST_F(ExperimentTest, WantsItsSchema) {
  EXPECT_THAT(refusal_of("name: x\n"),
              AllOf(HasSubstr("x.yaml:1: schema: this key is required"), HasSubstr("schema: 1")));
  EXPECT_THAT(refusal_of("schema: 2\nfuture: 1\n"), HasSubstr("x.yaml:1: schema: expected 1, got \"2\""));
  EXPECT_THAT(refusal_of("schema: \"1\"\nname: x\n"), HasSubstr("expected 1"));
}

struct Mistake {
  std::vector<std::string> overrides;
  std::string key;  // the path that the message names
  std::string says;
};

TEST_F(ExperimentTest, NamesTheKeyAndTheTwoThingsThatDisagree) {
  const std::vector<Mistake> mistakes = {
      {{"name=Big Name"}, "name", "\"Big Name\" cannot be a folder's name"},
      {{"name=../up"}, "name", "cannot be a folder's name"},
      {{"data.shards[1].name=one"}, "data.shards[1].name", "two shards are named \"one\": data.shards[0]"},
      {{"data.shards[1].name=a/b"}, "data.shards[1].name", "cannot be a folder's name"},
      {{"data.shards[1].name=a.b"}, "data.shards[1].name", "cannot be a folder's name"},
      {{"data.shards[0].file=x.h5"}, "data.shards[0]", "has 2 sources: icon_theme, file"},
      {{"data.shards[0]={name: one}"}, "data.shards[0]", "has no source"},
      {{"data.shards[0].icon_theme.package=../x"}, "data.shards[0].icon_theme.package", "is no package name"},
      {{"data.shards[0]={name: i, idx: {images: a, labels: b}}"}, "data.shards[0]", "no class names"},
      {{"data.shards[0]={name: i, idx: {images: a, labels: b, class_names: [x], classes: [1]}}"},
       "data.shards[0].idx.classes[0]",
       "class 1 has no name; class_names holds 1"},
      {{"data.shards=[]", "base={model: m}"}, "data.shards", "nothing to do"},
      {{"base={vocab_size: 600}"}, "base", "neither model nor shards"},
      {{"base.model=m"}, "base.shards", "stands beside base.model"},
      {{"data.resolution=15"}, "data.resolution", "15 px is not divisible by 2"},
      {{"data.held_out=0"}, "data.held_out", "nothing is held out"},
      {{"data.held_out=0.6"}, "data.held_out", "allowed: [0, 0.5]"},
      {{"ingredients.images=33"}, "ingredients.images", "33 images are not a multiple of the batch of 16"},
      {{"data.shards[1].images=40"}, "data.shards[1].images", "40 images are not a multiple of the batch of 16"},
      {{"ingredients.warmup_images=32", "data.shards[1].images=16"},
       "data.shards[1].images",
       "16 images, but the warm-up is 32"},
      {{"data.shards[1].ranks=17"}, "data.shards[1].ranks", "17 ranks, but a batch has only 16 images"},
      {{"launch.ranks_per_group=32"}, "data.shards[0].ranks", "32 ranks, but a batch has only 16 images"},
      {{"launch.umask=028"}, "launch.umask", "\"028\" is no umask"},
      {{"launch.umask=1777"}, "launch.umask", "\"1777\" is no umask"},
      {{"soup.on_missing=ignore"}, "soup.on_missing", "fail, wait, soup_of_survivors"},
      {{"ingredients.warmup_images=48"}, "ingredients.warmup_images", "48 images of warm-up, but only 32"},
      {{"base.architecture.unet.sample_size=16"},
       "base.architecture.unet.sample_size",
       "16, but data.resolution 16 / 2 (the factor of space_to_depth_2) is 8"},
      {{"base.architecture.unet.in_channels=3"}, "base.architecture.unet.in_channels", "makes 12 channels"},
      {{"base.architecture.unet.out_channels=3"}, "base.architecture.unet.out_channels", "makes 12 channels"},
      {{"base.architecture.unet.cross_attention_dim=64"},
       "base.architecture.unet.cross_attention_dim",
       "64, but text_encoder.hidden_size is 32"},
      {{"base.architecture.unet.down_block_types=[DownBlock2D]"},
       "base.architecture.unet.down_block_types",
       "1 block types, but block_out_channels has 2 levels"},
      {{"base.architecture.unet.block_out_channels=[]"}, "base.architecture.unet.block_out_channels", "0 levels"},
      {{"base.architecture.unet.block_out_channels=[16, 34]"},
       "base.architecture.unet.block_out_channels[1]",
       "34 channels are not divisible by norm_num_groups = 4"},
      {{"base.architecture.unet.attention_head_dim=3"},
       "base.architecture.unet.block_out_channels[1]",
       "not divisible by attention_head_dim = 3"},
      {{"data.resolution=18"}, "base.architecture", "a sample size of 9 cannot be halved 1 times"},
      {{"base.architecture.text_encoder.num_attention_heads=3"},
       "base.architecture.text_encoder.hidden_size",
       "32 is not divisible by num_attention_heads = 3"},
      {{"base.architecture.schedule.beta_start=0.5"}, "base.architecture.schedule.beta_start", "0.5 is not below"},
      {{"base.architecture.schedule.num_train_timesteps=10"}, "evaluation", "20 steps, but the schedule has 10"},
      {{"ingredients.micro_batch=17"}, "ingredients.micro_batch", "17 images at a time, but a batch has only 16"},
      {{"ingredients.keep_weights=ema", "ingredients.ema_halflife_images=0"},
       "ingredients.keep_weights",
       "ema_halflife_images: 0"},
      {{"data.shards[0]={name: i, webdataset: {tars: []}}"}, "data.shards[0].webdataset.tars", "names no tar"},
      {{"evaluation.karras=true"}, "evaluation.karras", "beside sampler: ddim"},
      {{"evaluation.grid_prompts=8", "evaluation.prompts=4"}, "evaluation.grid_prompts", "only 4 prompts"},
      {{"paragon.learning_rate=0"}, "paragon.learning_rate", "allowed: (0, 1]"},
  };
  for (const Mistake& mistake : mistakes) {
    const std::string message = refusal(mistake.overrides);
    EXPECT_THAT(message, HasSubstr(mistake.key));
    EXPECT_THAT(message, HasSubstr(mistake.says)) << mistake.overrides.front();
  }
}

TEST_F(ExperimentTest, PointsToTheLineOfACheck) {
  std::string yaml = small_yaml;
  yaml.replace(yaml.find("- name: two"), 11, "- name: one");
  EXPECT_THAT(refusal_of(yaml), HasSubstr("x.yaml:10: data.shards[1].name: two shards are named \"one\""));
}

TEST_F(ExperimentTest, ResolvesPaths) {
  // Beside the YAML file when only there; as written when nowhere.
  std::filesystem::create_directories(folder_.path() / "models" / "m");
  const std::string yaml =
      "schema: 1\nname: x\ndata: {shards: [{name: a, file: none/a.h5}]}\nbase: {model: models/m}\n"
      "ingredients: {images: 32, warmup_images: 0}\n";
  const Experiment e = test::load(folder_.path(), yaml);
  EXPECT_EQ(e.base.model, folder_.path() / "models" / "m");
  EXPECT_EQ(std::get<FileSource>(e.data.shards[0].source).path, "none/a.h5");
}

TEST_F(ExperimentTest, CanonicalTextLoadsToTheSameText) {
  for (const char* name : {"quickstart", "base-icons", "smoke"}) {
    const std::string text = to_yaml(load_experiment(source_folder / "configs" / (std::string(name) + ".yaml"), {}));
    EXPECT_EQ(to_yaml(test::load(folder_.path(), text)), text) << name;
  }
}

TEST_F(ExperimentTest, DigestFollowsResultsOnly) {
  const Digest digest = digest_of(load());
  EXPECT_EQ(digest_of(load({"name=other"})), digest);
  EXPECT_EQ(digest_of(load({"run_folder=elsewhere"})), digest);
  EXPECT_EQ(digest_of(load({"launch.ranks_per_group=2", "launch.deadline_seconds=5"})), digest);
  EXPECT_NE(digest_of(load({"seed=6"})), digest);
  EXPECT_NE(digest_of(load({"data.shards[0].name=other"})), digest);
  EXPECT_NE(digest_of(load({"data.shards[1].weight=4"})), digest);
  EXPECT_EQ(digest_of(load({"evaluation.steps=20"})), digest) << "a default written out changes nothing";
}

// The whole resolved experiment of schema 1, byte for byte. SOUP_WRITE_GOLDEN=1 writes it anew.
TEST_F(ExperimentTest, ResolvedTextIsAsItWas) {
  const std::filesystem::path golden = source_folder / "tests/experiments/golden/small.resolved.yaml";
  const std::string text = to_yaml(load());
  if (std::getenv("SOUP_WRITE_GOLDEN") != nullptr) {
    write_file_atomically(golden, text);
  }
  EXPECT_EQ(text, read_file(golden));
}

TEST(Configs, HoldOutTheSameNames) {
  const Experiment base = load_experiment(source_folder / "configs/base-icons.yaml", {});
  const Experiment quickstart = load_experiment(source_folder / "configs/quickstart.yaml", {});
  EXPECT_EQ(base.data.held_out, quickstart.data.held_out);
  EXPECT_EQ(base.data.held_out_seed, quickstart.data.held_out_seed);
  EXPECT_EQ(base.data.resolution, quickstart.data.resolution);
  for (const ShardSpec& shard : quickstart.data.shards) {
    for (const ShardSpec& other : base.base.shards) {
      EXPECT_NE(shard.theme, other.theme) << "the base must not know the shards' styles";
    }
  }
}

}  // namespace
}  // namespace soup
