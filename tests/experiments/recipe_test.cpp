// Recipes: what they say, what becomes of it, and every slip with its place.
#include "experiments/recipe.hpp"

#include <gmock/gmock.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/merge_job.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class RecipeTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path file_ = folder_.path() / "mix.yaml";

  Recipe read(const std::string& text) {
    write_file_atomically(file_, text);
    return read_recipe(file_);
  }
  std::string refusal(const std::string& text) {
    try {
      static_cast<void>(merge_job(read(text)));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }
};

constexpr const char* two_inputs = R"(schema: 1
inputs:
  - path: models/oxygen.safetensors
  - {name: numix, path: /models/b, weight: 0.5}
)";

TEST_F(RecipeTest, SaysAllOfAMerge) {
  const Recipe recipe = read(R"(schema: 1
method: dare_ties
inputs:
  - {path: models/oxygen}
  - {name: numix, path: ../numix/, weight: -2}
base: {path: sd}
parameters: {lambda: 0.5, drop: 0.8, density: 0.25, seed: 18446744073709551615}
rules:
  - tensors: "down_blocks.*"
    weights: {oxygen: 2}
  - tensors: "unet/*.bias"
    weights: {oxygen: 0, numix: 1.5}
parts: [unet]
variant: fp16
output: {dtype: bf16, accumulator: none, shard_size: 2GB, scale_bits: 40}
)");
  EXPECT_EQ(recipe.inputs[0].name, "oxygen");
  EXPECT_EQ(recipe.inputs[0].path, folder_.path() / "models/oxygen");
  EXPECT_EQ(recipe.inputs[1].weight, -2);
  EXPECT_EQ(recipe.rules[1].weights, (std::map<std::string, double>{{"oxygen", 0}, {"numix", 1.5}}));
  const MergeJob job = merge_job(recipe);
  ASSERT_EQ(job.inputs.size(), 3u);
  EXPECT_EQ(job.inputs[1].asked, -2);
  EXPECT_TRUE(job.inputs[2].is_base);
  EXPECT_EQ(job.inputs[2].name, "base");
  const MergeOptions& options = job.options;
  EXPECT_EQ(options.method->name, "dare_ties");
  EXPECT_EQ(options.method->parameters,
            (std::map<std::string, double>{{"density", 0.25}, {"drop", 0.8}, {"lambda", 0.5}}));
  EXPECT_EQ(options.method->seed, UINT64_MAX);
  EXPECT_EQ(options.rules.size(), 2u);
  EXPECT_EQ(options.dtype, DType::bf16);
  EXPECT_EQ(options.accumulator, AccumulatorKind::none);
  EXPECT_EQ(options.shard_bytes, 2'000'000'000u);
  EXPECT_EQ(options.scale_bits, 40);
  EXPECT_EQ(options.variant, "fp16");
  EXPECT_THAT(*options.parts, ElementsAre("unet"));
}

TEST_F(RecipeTest, IsWrittenAsItIsRead) {
  const char* full = R"(schema: 1
method: dare_ties
inputs:
  - {path: models/oxygen}
  - {name: "o'dd: name", path: ../numix/, weight: -2.5}
base: {name: sd, path: /models/sd}
parameters: {lambda: 0.5, drop: 0.8, density: 0.25, seed: 18446744073709551615}
rules:
  - tensors: "down_blocks.*"
    weights: {oxygen: 2}
parts: [unet, text_encoder]
variant: fp16
output: {dtype: bf16, accumulator: none, shard_size: 2GB, scale_bits: 40}
)";
  for (const char* text : {full, two_inputs}) {
    const Recipe recipe = read(text);
    fs::create_directories(folder_ / "elsewhere");
    const fs::path copy = folder_ / "elsewhere/copy.yaml";
    write_recipe(copy, recipe);
    const Recipe again = read_recipe(copy);
    EXPECT_EQ(again.method, recipe.method);
    ASSERT_EQ(again.inputs.size(), recipe.inputs.size());
    for (std::size_t i = 0; i < recipe.inputs.size(); ++i) {
      EXPECT_EQ(again.inputs[i].name, recipe.inputs[i].name);
      EXPECT_EQ(again.inputs[i].path.lexically_normal(), recipe.inputs[i].path.lexically_normal());
      EXPECT_EQ(again.inputs[i].weight, recipe.inputs[i].weight);
    }
    ASSERT_EQ(again.base.has_value(), recipe.base.has_value());
    if (recipe.base) {
      EXPECT_EQ(again.base->name, recipe.base->name);
      EXPECT_EQ(again.base->path, recipe.base->path);
    }
    EXPECT_EQ(again.parameters, recipe.parameters);
    EXPECT_EQ(again.seed, recipe.seed);
    ASSERT_EQ(again.rules.size(), recipe.rules.size());
    for (std::size_t i = 0; i < recipe.rules.size(); ++i) {
      EXPECT_EQ(again.rules[i].pattern, recipe.rules[i].pattern);
      EXPECT_EQ(again.rules[i].weights, recipe.rules[i].weights);
    }
    EXPECT_EQ(again.parts, recipe.parts);
    EXPECT_EQ(again.variant, recipe.variant);
    EXPECT_EQ(again.dtype, recipe.dtype);
    EXPECT_EQ(again.accumulator, recipe.accumulator);
    EXPECT_EQ(again.shard_size, recipe.shard_size);
    EXPECT_EQ(again.scale_bits, recipe.scale_bits);
  }
}

TEST_F(RecipeTest, AMeanOfRealWeightsBecomesIntegers) {
  const MergeJob job = merge_job(read(two_inputs));
  EXPECT_FALSE(job.options.method.has_value());
  EXPECT_EQ(job.inputs[0].weight, 2);
  EXPECT_EQ(job.inputs[1].weight, 1);
  EXPECT_EQ(job.inputs[1].asked, 0.5);
  EXPECT_THAT(job.notes, ElementsAre("oxygen: asked 1, used 2/3", "numix: asked 0.5, used 1/3"));
  EXPECT_EQ(job.options.scale_bits, 44);
}

TEST_F(RecipeTest, IntegerWeightsStayWhatTheyAre) {
  const MergeJob job =
      merge_job(read("schema: 1\ninputs: [{name: a, path: a, weight: 2}, {name: b, path: b, weight: 2}]\n"));
  EXPECT_EQ(job.inputs[0].weight, 2);
  EXPECT_EQ(job.inputs[0].asked, std::nullopt);
  EXPECT_TRUE(job.notes.empty());
}

TEST_F(RecipeTest, PullBackCountsTheBaseInEveryRule) {
  const MergeJob job = merge_job(read(R"(schema: 1
inputs: [{name: a, path: a}, {name: b, path: b}]
base: {path: sd, name: sd}
parameters: {lambda: 0.5}
rules: [{tensors: "*.bias", weights: {a: 3}}]
)"));
  ASSERT_EQ(job.inputs.size(), 3u);
  // 1 : 1 with a base of 2 in 4, and 3 : 1 with a base of 4 in 8.
  EXPECT_EQ(job.inputs[0].weight, 2);
  EXPECT_EQ(job.inputs[2].weight, 4);
  EXPECT_EQ(job.options.rules[0].weights, (std::map<std::string, double>{{"a", 3}, {"b", 1}, {"sd", 4}}));
  EXPECT_THAT(job.notes.back(), HasSubstr("*.bias: a 3, b 1, sd 4 of 8"));
}

TEST_F(RecipeTest, SlipsAreNamedWithTheirPlace) {
  const std::string start = two_inputs;
  EXPECT_THAT(refusal("inputs: [{path: a}]\n"), AllOf(HasSubstr("mix.yaml"), HasSubstr("schema")));
  EXPECT_THAT(refusal("schema: 2\ninputs: [{path: a}]\n"), AllOf(HasSubstr("mix.yaml:1"), HasSubstr("schema")));
  EXPECT_THAT(refusal("schema: 1\n"), HasSubstr("inputs"));
  EXPECT_THAT(refusal(start + "methud: ties\n"), AllOf(HasSubstr("mix.yaml:5"), HasSubstr("did you mean \"method\"?")));
  EXPECT_THAT(refusal(start + "method: tise\n"), AllOf(HasSubstr("mix.yaml:5"), HasSubstr("did you mean \"ties\"?")));
  EXPECT_THAT(refusal(start + "method: ties\nparameters: {density: 0}\n"),
              AllOf(HasSubstr("mix.yaml:6"), HasSubstr("parameters.density"), HasSubstr("(0, 1]")));
  EXPECT_THAT(refusal(start + "method: dare_linear\nparameters: {drop: 1}\n"),
              AllOf(HasSubstr("parameters.drop"), HasSubstr("[0, 1)")));
  EXPECT_THAT(refusal(start + "method: slerp\nparameters: {density: 0.5}\n"),
              AllOf(HasSubstr("parameters.density"), HasSubstr("unknown key")));
  EXPECT_THAT(refusal(start + "parameters: {lambda: 1}\n"), AllOf(HasSubstr("parameters.lambda"), HasSubstr("(0, 1)")));
  EXPECT_THAT(refusal(start + "rules: [{tensors: x, weights: {oxigen: 1}}]\n"),
              AllOf(HasSubstr("rules[0].weights.oxigen"), HasSubstr("did you mean \"oxygen\"?")));
  EXPECT_THAT(refusal(start + "rules: [{tensors: x}]\n"), HasSubstr("rules[0].weights"));
  EXPECT_THAT(refusal(start + "rules: [{weights: {oxygen: 1}}]\n"), HasSubstr("rules[0].tensors"));
  EXPECT_THAT(refusal(start + "output: {dtype: f8}\n"), AllOf(HasSubstr("output.dtype"), HasSubstr("f8")));
  EXPECT_THAT(refusal(start + "output: {shard_size: much}\n"), HasSubstr("shard size much"));
  EXPECT_THAT(refusal(start + "parameters: {lambda: 0.5}\n"), HasSubstr("lambda pulls a mean back to a base"));
  EXPECT_THAT(refusal(start + "base: {path: sd}\n"), HasSubstr("no use for a base without lambda"));
  EXPECT_THAT(refusal("schema: 1\ninputs: [{path: a, weight: 0}]\n"), HasSubstr("ingredient a has weight 0"));
  EXPECT_THAT(refusal("schema: 1\ninputs: [{path: a, weight: two}]\n"),
              AllOf(HasSubstr("mix.yaml:2"), HasSubstr("inputs[0].weight"), HasSubstr("a number")));
}

TEST(NameAfter, IsWithoutFolderAndEnding) {
  EXPECT_EQ(name_after("models/oxygen/"), "oxygen");
  EXPECT_EQ(name_after("models/v1.5"), "v1.5");
  EXPECT_EQ(name_after("a/b.safetensors"), "b");
  EXPECT_EQ(name_after("a/b.safetensors.index.json"), "b");
  EXPECT_EQ(name_after("b.h5"), "b");
}

TEST(FileBytes, Units) {
  EXPECT_EQ(file_bytes("5GB"), 5'000'000'000u);
  EXPECT_EQ(file_bytes("1.5KiB"), 1536u);
  EXPECT_EQ(file_bytes("17"), 17u);
  for (const char* text : {"", "GB", "0", "-1", "5XB", "1e300GB"}) {
    EXPECT_THROW(file_bytes(text), ConfigError) << text;
  }
}

}  // namespace
}  // namespace soup
