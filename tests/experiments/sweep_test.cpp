// A sweep's soups are those of separate merges, bit for bit; what cannot be swept is refused and leaves nothing.
#include "experiments/sweep.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <limits>
#include <map>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/process_identity.hpp"
#include "core/signals.hpp"
#include "experiments/verify.hpp"
#include "merge/edit.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/strict_json.hpp"
#include "merge/weights_digest.hpp"
#include "tests/merge/models.hpp"
#include "tests/merge/plain_models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class SweepTest : public testing::Test {
 protected:
  // Models named a, b, c, ... in `models`, as the inputs of a recipe.
  Recipe recipe_of(std::size_t inputs, const test::Flaws& flaws = {}) {
    Recipe recipe;
    for (std::size_t i = 0; i < inputs; ++i) {
      const std::string name(1, static_cast<char>('a' + i));
      recipe.inputs.push_back({name, test::make_ingredient(models_, name, 1, flaws).path});
    }
    return recipe;
  }
  // A base beside them, which their records name.
  void add_base(Recipe& recipe) {
    recipe.base = RecipeInput{"origin", test::make_ingredient(models_, "origin").path};
    IngredientRecord record = read_ingredient_record(recipe.base->path);
    record.kind = ModelKind::base;
    record.base_digest.reset();
    write_ingredient_record(recipe.base->path, record);
    for (const RecipeInput& input : recipe.inputs) {
      IngredientRecord trained = read_ingredient_record(input.path);
      trained.base_digest = model_digest(record.weights);
      write_ingredient_record(input.path, trained);
    }
  }
  // All files of a soup's folder that are no record of when it was made, with their bytes.
  static std::map<std::string, std::string> content_of(const fs::path& folder) {
    std::map<std::string, std::string> content;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
      const std::string name = entry.path().lexically_relative(folder).string();
      if (entry.is_regular_file() && name != ledger_name) {
        content.emplace(name, read_file(entry.path()));
      }
    }
    return content;
  }
  void expect_same_soup(const fs::path& a, const fs::path& b) {
    EXPECT_EQ(content_digest(read_ledger(a)), content_digest(read_ledger(b))) << a;
    EXPECT_EQ(content_of(a), content_of(b)) << a;
  }
  // The message of the error; nothing may be left behind.
  std::string refusal(const Recipe& recipe, int steps = 2, const std::function<void(MergeWork&)>& change = {},
                      const std::string& output = "refused") {
    MergeWork work;
    if (change) {
      change(work);
    }
    const std::size_t before = folder_.entries();
    std::string message;
    try {
      run_sweep(recipe, steps, folder_ / output, work);
    } catch (const Error& error) {
      message = error.what();
    }
    EXPECT_EQ(folder_.entries(), before) << "files left behind";
    return message;
  }

  test::TemporaryFolder folder_;
  fs::path models_ = folder_ / "models";
  fs::path mixed_ = folder_ / "mixed";
};

TEST_F(SweepTest, MeansAreThoseOfSeparateMerges) {
  const Recipe recipe = recipe_of(3);
  const Sweep sweep = run_sweep(recipe, 4, mixed_, {});
  ASSERT_EQ(sweep.points.size(), 15u);
  // By hand: integer weights over their greatest common divisor, inputs of weight 0 left out.
  const std::map<std::string, std::vector<std::pair<std::string, int>>> by_hand{
      {"4-0-0", {{"a", 1}}},
      {"3-1-0", {{"a", 3}, {"b", 1}}},
      {"3-0-1", {{"a", 3}, {"c", 1}}},
      {"2-2-0", {{"a", 1}, {"b", 1}}},
      {"2-1-1", {{"a", 2}, {"b", 1}, {"c", 1}}},
      {"2-0-2", {{"a", 1}, {"c", 1}}},
      {"1-3-0", {{"a", 1}, {"b", 3}}},
      {"1-2-1", {{"a", 1}, {"b", 2}, {"c", 1}}},
      {"1-1-2", {{"a", 1}, {"b", 1}, {"c", 2}}},
      {"1-0-3", {{"a", 1}, {"c", 3}}},
      {"0-4-0", {{"b", 1}}},
      {"0-3-1", {{"b", 3}, {"c", 1}}},
      {"0-2-2", {{"b", 1}, {"c", 1}}},
      {"0-1-3", {{"b", 1}, {"c", 3}}},
      {"0-0-4", {{"c", 1}}}};
  ASSERT_EQ(by_hand.size(), 15u);
  for (const auto& [name, weights] : by_hand) {
    std::vector<MergeInput> inputs;
    for (const auto& [input, weight] : weights) {
      inputs.push_back({input, models_ / input, weight});
    }
    merge(inputs, folder_ / ("separate-" + name));
    expect_same_soup(mixed_ / name, folder_ / ("separate-" + name));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(mixed_), fs::directory_iterator()), 16) << "15 soups and sweep.json";
  EXPECT_FALSE(fs::exists(mixed_.string() + ".partial-" + host_name() + "-" + std::to_string(::getpid())));
}

TEST_F(SweepTest, ACornerHasTheBitsOfItsInput) {
  run_sweep(recipe_of(2), 3, mixed_, {});
  for (const fs::path& file : {test::unet_file, test::ema_file}) {
    for (const char* tensor : {"conv.weight", "conv.bias"}) {
      EXPECT_EQ(test::floats_of(mixed_ / "3-0" / file, tensor), test::floats_of(models_ / "a" / file, tensor));
      EXPECT_EQ(test::floats_of(mixed_ / "0-3" / file, tensor), test::floats_of(models_ / "b" / file, tensor));
    }
  }
}

TEST_F(SweepTest, ItsRecordSaysWhatIsThere) {
  const Sweep made = run_sweep(recipe_of(3), 2, mixed_, {});
  const Sweep read = read_sweep(mixed_);
  EXPECT_EQ(read.program, program_version());
  EXPECT_EQ(read.method, "mean");
  EXPECT_EQ(read.inputs[1].name, "b");
  EXPECT_EQ(read.inputs[1].path, "../models/b");
  ASSERT_EQ(read.points.size(), made.points.size());
  for (std::size_t i = 0; i < made.points.size(); ++i) {
    EXPECT_EQ(read.points[i].folder, made.points[i].folder);
    EXPECT_EQ(read.points[i].soup_digest, read_ledger(mixed_ / read.points[i].folder).soup_digest());
  }
  require_unedited(mixed_, read);
}

TEST_F(SweepTest, PointsCanBeVerifiedAndEdited) {
  const Recipe recipe = recipe_of(3);
  run_sweep(recipe, 2, mixed_, {});
  EXPECT_EQ(read_ledger(mixed_ / "1-1-0").find("b")->path, "../../models/b");
  for (const Finding& finding : verify(mixed_ / "1-1-0")) {
    EXPECT_NE(finding.state, FindingState::bad) << finding.what << ": " << finding.detail;
  }
  add_ingredient(mixed_ / "1-1-0", {"c", recipe.inputs[2].path}, folder_ / "more");
  merge({{"a", models_ / "a"}, {"b", models_ / "b"}, {"c", models_ / "c"}}, folder_ / "all");
  EXPECT_EQ(content_digest(read_ledger(folder_ / "more")), content_digest(read_ledger(folder_ / "all")));
  remove_ingredient(mixed_ / "1-1-0", "b");
  EXPECT_EQ(read_ledger(mixed_ / "1-1-0").soup_digest(), read_ledger(mixed_ / "2-0-0").soup_digest());
  try {
    require_unedited(mixed_, read_sweep(mixed_));
    ADD_FAILURE() << "an edited point passed";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("1-1-0"), HasSubstr("sweep.json says")));
  }
}

TEST_F(SweepTest, OptionsApplyToEveryPoint) {
  Recipe recipe = recipe_of(2);
  recipe.dtype = "bf16";
  recipe.accumulator = "none";
  run_sweep(recipe, 2, mixed_, {});
  MergeOptions options;
  options.dtype = DType::bf16;
  options.accumulator = AccumulatorKind::none;
  merge({{"a", models_ / "a"}, {"b", models_ / "b"}}, folder_ / "half", options);
  expect_same_soup(mixed_ / "1-1", folder_ / "half");
  for (const char* name : {"2-0", "1-1", "0-2"}) {
    EXPECT_EQ(read_ledger(mixed_ / name).dtype, "BF16");
    EXPECT_FALSE(fs::exists(mixed_ / name / accumulator_folder));
  }
}

TEST_F(SweepTest, MethodsGetSharesOfOne) {
  Recipe recipe = recipe_of(3);
  add_base(recipe);
  for (const char* method : {"task_arithmetic", "ties", "dare_linear", "dare_ties"}) {
    recipe.method = method;
    const fs::path swept = folder_ / method;
    run_sweep(recipe, 4, swept, {});
    MergeOptions options;
    options.method = MethodSettings{method, {}, {}};
    const auto separate = [&](const std::string& name, const std::vector<std::pair<std::string, double>>& weights) {
      std::vector<MergeInput> inputs;
      for (const auto& [input, weight] : weights) {
        inputs.push_back({input, models_ / input});
        inputs.back().asked = weight;
      }
      inputs.push_back({"origin", models_ / "origin"});
      inputs.back().is_base = true;
      merge(inputs, folder_ / (std::string(method) + name), options);
      expect_same_soup(swept / name, folder_ / (std::string(method) + name));
    };
    separate("2-1-1", {{"a", 0.5}, {"b", 0.25}, {"c", 0.25}});
    separate("0-3-1", {{"b", 0.75}, {"c", 0.25}});
    separate("0-0-4", {{"c", 1.0}});
    EXPECT_EQ(read_sweep(swept).method, method);
  }
}

TEST_F(SweepTest, SlerpGoesFromModelToModel) {
  Recipe recipe = recipe_of(2);
  recipe.method = "slerp";
  run_sweep(recipe, 4, mixed_, {});
  merge({{"a", models_ / "a"}}, folder_ / "corner");
  expect_same_soup(mixed_ / "4-0", folder_ / "corner");
  MergeOptions options;
  options.method = MethodSettings{"slerp", {}, {}};
  std::vector<MergeInput> inputs{{"a", models_ / "a"}, {"b", models_ / "b"}};
  inputs[0].asked = 0.25;
  inputs[1].asked = 0.75;
  merge(inputs, folder_ / "quarter", options);
  expect_same_soup(mixed_ / "1-3", folder_ / "quarter");
}

TEST_F(SweepTest, AMeanIsPulledBack) {
  Recipe recipe = recipe_of(2);
  add_base(recipe);
  recipe.parameters["lambda"] = 0.5;
  run_sweep(recipe, 4, mixed_, {});
  const auto expect_weights = [&](const std::string& name, const std::map<std::string, std::int64_t>& weights) {
    const Ledger ledger = read_ledger(mixed_ / name);
    std::map<std::string, std::int64_t> found;
    for (const LedgerIngredient& ingredient : ledger.ingredients) {
      found.emplace(ingredient.name, ingredient.weight);
    }
    EXPECT_EQ(found, weights) << name;
  };
  expect_weights("4-0", {{"a", 1}, {"origin", 1}});
  expect_weights("3-1", {{"a", 3}, {"b", 1}, {"origin", 4}});
  expect_weights("2-2", {{"a", 1}, {"b", 1}, {"origin", 2}});
}

TEST_F(SweepTest, FilesAreSweptToo) {
  Recipe recipe;
  for (const char* name : {"a", "b"}) {
    recipe.inputs.push_back({name, test::write_plain(models_, name).path});
  }
  run_sweep(recipe, 2, mixed_, {});
  EXPECT_EQ(test::values_of(mixed_ / "2-0" / "model.safetensors"), test::values_of(models_ / "a.safetensors"));
}

TEST_F(SweepTest, PartsAreChosenOnceForAllPoints) {
  test::Flaws flaws;
  flaws.with_record = false;
  Recipe recipe = recipe_of(2, flaws);
  flaws.text = "another";
  recipe.inputs.push_back({"c", test::make_ingredient(models_, "c", 1, flaws).path});
  run_sweep(recipe, 2, mixed_, {});
  for (const char* name : {"2-0-0", "1-1-0", "0-1-1"}) {
    EXPECT_TRUE(read_ledger(mixed_ / name).parts.contains("text_encoder")) << name;
  }
}

TEST_F(SweepTest, ProgressIsThatOfTheWholeSweep) {
  MergeWork work;
  work.threads = 1;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> calls;
  work.progress = [&](std::uint64_t done, std::uint64_t total) { calls.emplace_back(done, total); };
  run_sweep(recipe_of(3), 2, mixed_, work);
  ASSERT_FALSE(calls.empty());
  EXPECT_TRUE(std::ranges::is_sorted(calls));
  // Two parts of 127 floats and two integers each; three points of one input and three of two.
  EXPECT_EQ(calls.back().first, calls.back().second);
  EXPECT_EQ(calls.back().second, 9u * 2 * (127 * 4 + 2 * 8));
  EXPECT_EQ(calls.front().second, calls.back().second);
}

TEST_F(SweepTest, RefusesWhatASweepIsNot) {
  const Recipe good = recipe_of(2);
  const auto changed = [&](const std::function<void(Recipe&)>& change) {
    Recipe recipe = good;
    change(recipe);
    return recipe;
  };
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.inputs[1].weight = 2; })),
              AllOf(HasSubstr("b has weight 2"), HasSubstr("a sweep is asked for"), HasSubstr("hint")));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.rules = {{"*.bias", {{"a", 2}}}}; })), HasSubstr("\"*.bias\""));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.method = "model_stock"; })), HasSubstr("model_stock has none"));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.method = "ties"; })), HasSubstr("method ties needs the base"));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.parameters["lambda"] = 0.5; })), HasSubstr("pulls a mean back"));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.inputs.resize(1); })), HasSubstr("there is 1"));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.inputs[1].name = "a"; })),
              HasSubstr("two ingredients are named \"a\""));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.inputs[1].path = "none"; })), HasSubstr("none"));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.parts = {"vae"}; })), HasSubstr("no part vae"));
  EXPECT_THAT(refusal(changed([](Recipe& r) { r.dtype = "f8"; })), HasSubstr("f8"));
  EXPECT_THAT(refusal(good, 1000), AllOf(HasSubstr("2 inputs"), HasSubstr("1000 steps"), HasSubstr("1001 soups")));
  EXPECT_THAT(refusal(good, 2, {}, "x.safetensors"), HasSubstr("one file"));
  EXPECT_THAT(refusal(good, 2, [](MergeWork& work) { work.digests = false; }), HasSubstr("--no-digests"));
  EXPECT_THAT(refusal(good, 2, {}, "models"), HasSubstr("is also an input, or contains one"));
  Recipe three = recipe_of(3);
  three.method = "slerp";
  EXPECT_THAT(refusal(three), AllOf(HasSubstr("slerp"), HasSubstr("there are 3")));
  fs::create_directories(folder_ / "refused");
  EXPECT_THAT(refusal(good), HasSubstr("exists already"));
}

TEST_F(SweepTest, NothingIsWrittenForModelsThatDoNotFit) {
  Recipe recipe = recipe_of(2);
  const auto with = [&](const test::Flaws& flaws) {
    Recipe changed = recipe;
    changed.inputs.push_back({"c", test::make_ingredient(models_, "c", 1, flaws).path});
    return changed;
  };
  // The third input is in no soup before the third.
  std::size_t calls = 0;
  const auto count = [&](MergeWork& work) { work.progress = [&](std::uint64_t, std::uint64_t) { ++calls; }; };
  EXPECT_THAT(refusal(with({.base = "other"}), 2, count), HasSubstr("base"));
  EXPECT_THAT(refusal(with({.text = "other"}), 2, count), HasSubstr("text_encoder"));
  EXPECT_THAT(refusal(with({.width = 41}), 2, count), HasSubstr("conv.weight"));
  EXPECT_EQ(calls, 0u);
}

TEST_F(SweepTest, AnErrorHalfWayLeavesWhatWasThere) {
  Recipe recipe = recipe_of(2);
  test::Flaws flaws;
  flaws.poison = std::numeric_limits<float>::quiet_NaN();
  recipe.inputs.push_back({"c", test::make_ingredient(models_, "c", 1, flaws).path});
  std::size_t calls = 0;
  EXPECT_THAT(refusal(recipe, 2, [&](MergeWork& work) { work.progress = [&](auto, auto) { ++calls; }; }),
              AllOf(HasSubstr("c"), HasSubstr("conv.weight")));
  EXPECT_GT(calls, 0u) << "the first soups are of good inputs";

  fs::create_directories(folder_ / "refused" / "older");
  EXPECT_THAT(refusal(recipe, 2, [](MergeWork& work) { work.overwrite = true; }), HasSubstr("conv.weight"));
  EXPECT_TRUE(fs::exists(folder_ / "refused" / "older"));
}

TEST_F(SweepTest, OverwriteReplacesAll) {
  fs::create_directories(mixed_ / "9-9");
  MergeWork work;
  work.overwrite = true;
  run_sweep(recipe_of(2), 1, mixed_, work);
  EXPECT_FALSE(fs::exists(mixed_ / "9-9"));
  EXPECT_EQ(read_sweep(mixed_).points.size(), 2u);
  EXPECT_EQ(folder_.entries(), 2u);
}

// Last: the signal stays requested in this process.
TEST_F(SweepTest, AStopLeavesNothing) {
  install_stop_signals();
  const Recipe recipe = recipe_of(3);
  bool wrote = false;
  const std::string message = refusal(recipe, 2, [&](MergeWork& work) {
    work.progress = [&](std::uint64_t done, std::uint64_t total) {
      if (!wrote && done > total / 2) {
        wrote = true;
        std::raise(SIGTERM);
      }
    };
  });
  EXPECT_TRUE(wrote);
  EXPECT_THAT(message, HasSubstr("stop"));
}

}  // namespace
}  // namespace soup
