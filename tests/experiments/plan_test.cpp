// What `soup plan` finds: problems before the start, who trains what, what is done and what the rest costs.
#include "experiments/plan.hpp"

#include <gmock/gmock.h>

#include "core/atomic_file.hpp"
#include "data/shard_writer.hpp"
#include "experiments/model_size.hpp"
#include "experiments/preflight.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class PlanTest : public testing::Test {
 protected:
  // All three themes of the small experiment are there.
  void SetUp() override {
    for (const char* theme : {"One", "Two", "Zero"}) {
      write_theme(theme);
    }
  }
  void write_theme(const std::string& theme) {
    const auto root = folder_.path() / "themes" / theme;
    std::filesystem::create_directories(root);
    write_file_atomically(root / "index.theme", "[Icon Theme]\nName=" + theme + "\n");
  }
  Experiment load(std::vector<std::string> overrides = {}) {
    overrides.insert(overrides.begin(), "base.shards[0].icon_theme.root=" + (folder_.path() / "themes/Zero").string());
    return load_of_model(overrides);
  }
  // With no shards for the base.
  Experiment load_of_model(std::vector<std::string> overrides) {
    overrides.insert(overrides.begin(), {"data.shards[0].icon_theme.root=" + (folder_.path() / "themes/One").string(),
                                         "data.shards[1].icon_theme.root=" + (folder_.path() / "themes/Two").string(),
                                         "run_folder=" + (folder_.path() / "run").string()});
    return test::load(folder_.path(), test::small_yaml, overrides);
  }
  // The only problem, as text with its exit code.
  std::string problem(const Experiment& experiment) { return only_one(preflight(experiment)); }
  static std::string only_one(const std::vector<Error>& problems) {
    if (problems.size() != 1) {
      return std::to_string(problems.size()) + " problems";
    }
    return std::to_string(static_cast<int>(problems[0].exit_code())) + " " + problems[0].what();
  }

  test::TemporaryFolder folder_;
};

TEST_F(PlanTest, FindsNothingWrongWithAGoodExperiment) {
  EXPECT_TRUE(preflight(load()).empty());
  EXPECT_NO_THROW(require_ready(load()));
}

TEST_F(PlanTest, NamesThePackageOfAMissingTheme) {
  std::filesystem::remove_all(folder_.path() / "themes/Two");
  EXPECT_THAT(problem(load()), AllOf(testing::StartsWith("3 "), HasSubstr("two-icon-theme"), HasSubstr("shard \"two\""),
                                     HasSubstr("bash launch/setup.sh")));
}

TEST_F(PlanTest, FindsRanksThatFormNoGroups) {
  EXPECT_THAT(only_one(make_plan(load({"launch.ranks_per_group=2"}), 3, GpuInventory{}).problems),
              testing::StartsWith("2 3 ranks cannot be cut into groups of 2"));
}

TEST_F(PlanTest, RefusesARunFolderOfAnotherExperiment) {
  std::filesystem::create_directories(folder_.path() / "run");
  write_file_atomically(folder_.path() / "run/experiment.yaml", "schema: 1\nname: older\n");
  EXPECT_THAT(problem(load()), AllOf(testing::StartsWith("2 "), HasSubstr("belongs to the experiment \"older\"")));
  write_file_atomically(folder_.path() / "run/experiment.yaml", "schema: 1\nname: small\n");
  EXPECT_TRUE(preflight(load()).empty());
}

TEST_F(PlanTest, FindsAFileInTheRunFoldersPlace) {
  write_file_atomically(folder_.path() / "run", "a file");
  EXPECT_THAT(problem(load()), AllOf(testing::StartsWith("3 "), HasSubstr("is no folder")));
}

TEST_F(PlanTest, FindsMissingFilesAndFolders) {
  EXPECT_THAT(problem(load({"evaluation.scorer=none/here"})), AllOf(testing::StartsWith("3 "), HasSubstr("scorer")));
  EXPECT_THAT(problem(load({"data.shards[0]={name: one, file: none.h5}"})), HasSubstr("none.h5: no such file"));
  EXPECT_THAT(problem(load({"data.shards[0]={name: one, idx: {images: i, labels: l, class_names: [a]}}"})),
              HasSubstr("i: no such file"));
  EXPECT_THAT(problem(load({"base={model: none}"})), AllOf(testing::StartsWith("3 "), HasSubstr("base.model")));
  write_file_atomically(folder_.path() / "broken.h5", "not HDF5");
  EXPECT_THAT(problem(load({"data.shards[0]={name: one, file: broken.h5}"})), testing::StartsWith("3 "));
}

TEST_F(PlanTest, TakesOblongsOfAboutAsManyPixels) {
  const auto problem_with = [this](const std::vector<ImageSize>& sizes, int channels = 3) {
    {
      ShardWriter writer(folder_ / "sizes.h5", {"sizes", "", "", ""}, sha256("sizes"));
      if (channels == 3) {
        for (const auto [height, width] : sizes) {
          writer.append({white_image(height, width), "a caption", "key", "", ""});
        }
        writer.finish();
      } else {
        writer.discard();
        ShardWriter grey(folder_ / "sizes.h5", {"sizes", "", "", ""}, sizes[0].height, sizes[0].width, channels);
        grey.append({{sizes[0].height, sizes[0].width, channels, std::vector<std::uint8_t>(256)}, "a", "k", "", ""});
        grey.finish();
      }
    }
    return problem(load({"data.shards[0]={name: one, file: " + (folder_ / "sizes.h5").string() + "}"}));
  };
  const std::string none = "0 problems";
  EXPECT_EQ(problem_with({{16, 16}}), none);
  EXPECT_EQ(problem_with({{8, 32}}), none);
  EXPECT_EQ(problem_with({{16, 16}, {12, 20}, {24, 8}, {14, 14}}), none);
  EXPECT_THAT(problem_with({{14, 14}}), AllOf(testing::StartsWith("3 "), HasSubstr("14 x 14 x 3")));
  EXPECT_THAT(problem_with({{16, 18}}), HasSubstr("16 x 18 x 3"));
  EXPECT_THAT(problem_with({{16, 16}, {8, 16}}), HasSubstr("8 x 16 x 3"));
  EXPECT_THAT(problem_with({{16, 16}}, 1), HasSubstr("16 x 16 x 1"));
  EXPECT_THAT(problem_with({{9, 28}}),
              AllOf(testing::StartsWith("2 "), HasSubstr("9 x 28"), HasSubstr("multiples of 2")));
}

TEST_F(PlanTest, RefusesBucketsThatTheAutoencoderCannotTake) {
  const auto problem_with = [this](const std::string& options) {
    return problem(load({"data.shards[0]={name: one, folder: {path: " + folder_.path().string() + ", buckets: true, " +
                         options + "}}"}));
  };
  EXPECT_EQ(problem_with("bucket_step: 4, bucket_least_side: 8, bucket_most_side: 32"), "0 problems");
  EXPECT_THAT(problem_with("bucket_step: 3, bucket_least_side: 9, bucket_most_side: 33"), HasSubstr("multiples of 2"));
  EXPECT_THAT(problem_with("bucket_step: 8"), HasSubstr("aspect-ratio buckets of resolution 16"));
}

TEST_F(PlanTest, CountsTheEncodersWork) {
  const std::string model = std::string(SOUP_SOURCE_DIR) + "/tests/fixtures/parity/stable_diffusion/model";
  const auto plan_with = [&](const std::string& latents) {
    return make_plan(load({"base={model: " + model + "}", "data.resolution=32", "data.latents=" + latents}), 1, {});
  };
  const Plan with = plan_with("true");
  const Plan without = plan_with("false");
  const ModelSize size = model_size(model);
  ASSERT_TRUE(size.encoder.has_value());
  for (std::size_t i = 0; i < with.stages.size(); ++i) {
    const StagePlan& one = with.stages[i];
    const StagePlan& other = without.stages[i];
    if (one.stage.kind != StageKind::import_shard) {
      EXPECT_EQ(one.seconds, other.seconds);
      EXPECT_EQ(one.bytes, other.bytes);
      continue;
    }
    const auto images = static_cast<double>(one.images);
    const double products =
        size.encoder->products + 2.0 * static_cast<double>(size.text_encoder) * static_cast<double>(size.tokens);
    EXPECT_NEAR(one.seconds - other.seconds, images * products / (assumed_encoding_rate * with.cores), 1e-9);
    // Moments of 8 channels of 8 x 8 and two texts' states, two bytes each; and everything twice.
    const auto states = 2 * static_cast<std::uint64_t>(size.tokens * size.text_width);
    EXPECT_EQ(one.bytes, 2 * (other.bytes + one.images * 2 * (8 * 8 * 8 + states)));
  }
  EXPECT_GT(with.bytes_to_do, without.bytes_to_do);
  EXPECT_THAT(describe(with, load({"data.latents=false", "base={model: " + model + "}", "data.resolution=32"})),
              testing::Not(HasSubstr("encoding")));
}

TEST_F(PlanTest, FindsWhatTheBaseCannotGive) {
  const auto with = [this](std::vector<std::string> overrides) {
    overrides.insert(overrides.begin(), "base={model: " SOUP_SOURCE_DIR "/experiments/base/icons}");
    return problem(load_of_model(overrides));
  };
  EXPECT_EQ(with({}), "0 problems");
  EXPECT_THAT(with({"ingredients.clip_skip=9"}), AllOf(testing::StartsWith("2 "), HasSubstr("ingredients.clip_skip")));
  EXPECT_THAT(with({"ingredients.frozen=[unet.nothing.*]"}), HasSubstr("\"unet.nothing.*\" matches no parameter"));
  EXPECT_THAT(with({"ingredients.frozen=[text_encoder.*]"}), HasSubstr("matches no parameter"));
  EXPECT_EQ(with({"ingredients.frozen=[text_encoder.*, unet.conv_in.*]", "ingredients.train_text_encoder=true"}),
            "0 problems");
  EXPECT_THAT(with({"evaluation.sampler=dpmpp_2m", "evaluation.steps=1000"}), HasSubstr("the schedule has 999"));
  EXPECT_THAT(
      problem(load({"base.architecture.schedule.prediction_type=epsilon", "ingredients.zero_terminal_snr=true"})),
      AllOf(testing::StartsWith("2 "), HasSubstr("prediction_type = epsilon")));
}

TEST_F(PlanTest, RefusesAScorerThatWasTrainedOnHeldOutNames) {
  const std::filesystem::path scorer = folder_.path() / "scorer";
  std::filesystem::create_directories(scorer);
  const auto problem_with = [&](const std::string& recipe) {
    write_file_atomically(scorer / "recipe.json", recipe);
    return problem(load({"evaluation.scorer=" + scorer.string(), "data.held_out=0.2", "data.held_out_seed=7"}));
  };
  EXPECT_THAT(problem_with(R"({"configuration": {"held_out": {"fraction": 0.1, "seed": 7}}})"),
              AllOf(testing::StartsWith("2 "), HasSubstr("data.held_out 0.1 of seed 7"), HasSubstr("0.2 of seed 7")));
  EXPECT_THAT(problem_with(R"({"configuration": {"held_out": {"fraction": 0.2, "seed": 8}}})"),
              AllOf(testing::StartsWith("2 "), HasSubstr("0.2 of seed 8")));
  for (const char* broken : {"{", "[]", "{}", R"({"configuration": {}})", R"({"configuration": 3})"}) {
    EXPECT_THAT(problem_with(broken), AllOf(testing::StartsWith("3 "), HasSubstr("recipe.json"))) << broken;
  }
  EXPECT_THAT(problem_with(R"({"configuration": {"held_out": 3}})"), testing::StartsWith("2 "));
  write_file_atomically(scorer / "recipe.json", R"({"configuration": {"held_out": {"fraction": 0.3, "seed": 7}}})");
  EXPECT_TRUE(
      preflight(load({"evaluation.scorer=" + scorer.string(), "data.held_out=0.2", "data.held_out_seed=7"})).empty());
}

TEST_F(PlanTest, ThrowsTheFirstAndListsTheOthers) {
  std::filesystem::remove_all(folder_.path() / "themes");
  try {
    require_ready(load());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("zero-icon-theme"), HasSubstr("one-icon-theme"), HasSubstr("two-icon-theme")));
  }
}

TEST_F(PlanTest, WritesNothing) {
  const Experiment experiment = load();
  describe(make_plan(experiment, 1, {}), experiment);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "run"));
}

TEST_F(PlanTest, KnowsWhatIsDoneAndPredictsFromIt) {
  const Experiment experiment = load();
  const std::vector<Stage> stages = stages_of(experiment);
  const Plan fresh = make_plan(experiment, 1, {});
  ASSERT_EQ(fresh.stages.size(), stages.size());
  for (const StagePlan& item : fresh.stages) {
    EXPECT_FALSE(item.done);
    EXPECT_EQ(item.basis, Basis::assumed);
    EXPECT_GT(item.seconds, 0.0);
  }

  // The base has trained its 64 images in 640 seconds: an ingredient's 32 take 320 on the same rank.
  for (const Stage& stage : stages) {
    if (stage.name == "import/base.zero" || stage.name == "base") {
      std::filesystem::create_directories(experiment.run_folder / stage.folder);
      write_done(experiment.run_folder / stage.folder, {.key = stage_key(stage, stages, experiment.run_folder).value(),
                                                        .result = sha256(stage.name),
                                                        .seconds = 640.0,
                                                        .images = stage.images});
    }
  }
  const Plan plan = make_plan(experiment, 1, {});
  for (const StagePlan& item : plan.stages) {
    if (item.stage.name == "base") {
      EXPECT_TRUE(item.done);
      EXPECT_EQ(item.basis, Basis::measured);
    } else if (item.stage.kind == StageKind::ingredient) {
      EXPECT_EQ(item.basis, Basis::this_run);
      EXPECT_DOUBLE_EQ(item.seconds, 320.0);
    } else if (item.stage.name == "paragon/equal-total") {
      EXPECT_DOUBLE_EQ(item.seconds, 640.0);
    }
  }
  EXPECT_GT(plan.seconds_to_do, 2 * 320.0 + 640.0 + 320.0);
  EXPECT_THAT(describe(plan, experiment), AllOf(HasSubstr("2 of 14 stages done"), HasSubstr("ingredient/two")));
}

TEST_F(PlanTest, PredictsNothingOfABaseItCannotRead) {
  const Experiment experiment = load({"base={model: none}"});
  const Plan plan = make_plan(experiment, 1, {});
  for (const StagePlan& item : plan.stages) {
    EXPECT_EQ(item.basis == Basis::unknown, item.stage.images > 0 || item.stage.kind == StageKind::evaluate);
  }
  EXPECT_THAT(describe(plan, experiment), HasSubstr("to do: more than "));
}

TEST_F(PlanTest, GroupsWorkSideBySide) {
  const auto ingredients = [this](int ranks) {
    double seconds = 0.0;
    for (const StagePlan& item : make_plan(load(), ranks, {}).stages) {
      seconds += item.stage.kind == StageKind::ingredient ? item.seconds : 0.0;
    }
    return seconds;
  };
  // Two groups share the host's cores: each ingredient takes twice as long, and two run at a time.
  EXPECT_DOUBLE_EQ(ingredients(2), 2 * ingredients(1));
  EXPECT_NEAR(make_plan(load(), 2, {}).seconds_to_do, make_plan(load(), 1, {}).seconds_to_do, 20.0);
}

TEST_F(PlanTest, ListsProblemsWithTheTable) {
  std::filesystem::remove_all(folder_.path() / "themes/One");
  const Experiment experiment = load({"launch.ranks_per_group=2"});
  const Plan plan = make_plan(experiment, 3, {});
  EXPECT_EQ(plan.problems.size(), 2U);
  EXPECT_EQ(plan.problems.front().exit_code(), ExitCode::usage);
  EXPECT_THAT(describe(plan, experiment), AllOf(HasSubstr("2 problems"), HasSubstr("one-icon-theme")));
}

TEST_F(PlanTest, NamesTheGpusAndRefusesAnotherNccl) {
  const Experiment experiment = load();
  EXPECT_THAT(describe(make_plan(experiment, 1, {}), experiment), HasSubstr("\nGPUs: built without CUDA\n"));
  GpuInventory gpus{.cuda_built = true, .cuda_driver = 13000, .cuda_runtime = 13000};
  gpus.gpus = {{0, "NVIDIA H200", 9, 0, 150'000'000'000, "0000:1b:00.0", "GPU-01020304"}};
  gpus.nccl_compiled = 22809;
  gpus.nccl_loaded = 22703;
  const Plan plan = make_plan(experiment, 1, gpus);
  ASSERT_EQ(plan.problems.size(), 1U);
  EXPECT_EQ(plan.problems.front().exit_code(), ExitCode::communication);
  EXPECT_THAT(describe(plan, experiment),
              AllOf(HasSubstr("\nGPUs: 1 "), HasSubstr("networks compute on GPU 0 (NVIDIA H200)\n"),
                    HasSubstr("of its GPU's"), HasSubstr("1 problem "), HasSubstr("2.27.3")));
}

TEST_F(PlanTest, ADeviceThatIsNotThereIsAProblem) {
  const Experiment experiment = load({"launch.device=cuda"});
  const Plan plan = make_plan(experiment, 1, {});
  ASSERT_EQ(plan.problems.size(), 1U);
  EXPECT_EQ(plan.problems.front().exit_code(), ExitCode::usage);
  EXPECT_THAT(describe(plan, experiment),
              AllOf(HasSubstr("networks compute on the CPU"), HasSubstr("device cuda"), HasSubstr("without CUDA")));
}

}  // namespace
}  // namespace soup
