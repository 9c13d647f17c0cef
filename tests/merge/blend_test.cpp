// Methods in a merge: the same bits however the work is cut, what the ledger says, what is refused.
#include "merge/blend.hpp"

#include <gmock/gmock.h>

#include <functional>

#include "core/error.hpp"
#include "merge/edit.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/merge_files.hpp"
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

const std::vector<MethodSettings> three_model_methods{{"task_arithmetic", {{"lambda", 0.3}}, {}},
                                                      {"ties", {{"density", 0.3}}, {}},
                                                      {"dare_linear", {{"drop", 0.7}}, 11},
                                                      {"dare_ties", {{"drop", 0.3}, {"density", 0.5}}, 12},
                                                      {"model_stock", {}, {}}};

class BlendTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();

  std::vector<MergeInput> plain(std::size_t models, bool with_base, const test::PlainForm& form = {}) {
    std::vector<MergeInput> inputs;
    for (std::size_t i = 0; i < models; ++i) {
      inputs.push_back(test::write_plain(root_, std::string(1, static_cast<char>('a' + i)), form));
    }
    if (with_base) {
      inputs.push_back(test::write_plain(root_, "base", form));
      inputs.back().is_base = true;
    }
    return inputs;
  }

  static MergeOptions with(const MethodSettings& settings) {
    MergeOptions options;
    options.method = settings;
    return options;
  }

  // The message of the error that merging these gives, and that nothing was left behind.
  std::string refusal(const std::vector<MergeInput>& inputs, const MergeOptions& options) {
    return test::merge_refusal(root_, inputs, options);
  }
};

TEST_F(BlendTest, BitsDependOnNeitherThreadsNorBlocksNorTheOrderOfInputs) {
  const std::vector<MergeInput> inputs = plain(3, true);
  std::vector<Weights> weights;
  for (const MergeInput& input : inputs) {
    weights.push_back(Weights::open(input.path));
  }
  for (const MethodSettings& settings : three_model_methods) {
    const std::unique_ptr<Method> method = make_method(settings);
    std::vector<Digest> digests;
    const auto blend_with = [&](int threads, std::uint64_t block_elements, std::uint64_t memory) {
      SoupWriter writer(root_, in_one_file("soup.safetensors", weights.front().tensors().size()), weights.front(),
                        {0, 0, DType::f32}, AccumulatorKind::none, 64);
      Blend blend{*method, {}, {1, 1, 1}, {&weights[3], "base"}, "model"};
      for (std::size_t i = 0; i < 3; ++i) {
        blend.models.push_back({&weights[i], inputs[i].name});
      }
      BlendOptions options;
      options.threads = threads;
      options.block_elements = block_elements;
      options.memory = memory;
      const SumOutcome outcome = stream_blend(blend, options, writer);
      digests.push_back(*outcome.soup);
      EXPECT_EQ(outcome.terms.back().digest, weights_digest(weights[3]));
      EXPECT_EQ(outcome.soup, weights_digest(Weights::open(root_ / "soup.safetensors")));
    };
    blend_with(1, 65536, 1 << 30);
    blend_with(2, 65536, 1 << 30);
    blend_with(3, 65536, 1 << 30);
    blend_with(3, 131072, 1 << 30);
    blend_with(2, 262144, 1 << 30);
    blend_with(3, 65536, 1);  // one thread
    MergeOptions options = with(settings);
    options.work.overwrite = true;
    std::vector<MergeInput> reversed(inputs.rbegin(), inputs.rend());
    digests.push_back(merge(reversed, root_ / "soup.safetensors", options).parts.at("model"));
    EXPECT_THAT(digests, testing::Each(digests.front())) << settings.name;
  }
}

TEST_F(BlendTest, ShardedInputsAndAnotherBasesTypeGiveTheSameValues) {
  test::TemporaryFolder other;
  for (const MethodSettings& settings : three_model_methods) {
    MergeOptions options = with(settings);
    options.work.overwrite = true;
    const Ledger plain_soup = merge(plain(3, true), root_ / "soup.safetensors", options);
    const std::vector<MergeInput> sharded = [&] {
      std::vector<MergeInput> inputs;
      for (const char* name : {"a", "b", "c", "base"}) {
        inputs.push_back(test::write_plain(other.path(), name, {.sharded = true}));
      }
      inputs.back().is_base = true;
      return inputs;
    }();
    const Ledger soup = merge(sharded, root_ / "sharded.safetensors", options);
    EXPECT_EQ(soup.parts, plain_soup.parts) << settings.name;
    EXPECT_EQ(soup.base->parts.at("model").digest, plain_soup.base->parts.at("model").digest);
  }
}

TEST_F(BlendTest, LedgerSaysHowAndTheFolderCanBeMadeAnewButNotEdited) {
  std::vector<MergeInput> inputs{test::make_ingredient(root_, "a"), test::make_ingredient(root_, "b")};
  inputs[1].asked = 2.5;
  MergeInput base = test::make_ingredient(root_, "origin", 1, {.with_record = false});
  base.is_base = true;
  const Digest origin = model_digest(part_digests(base.path));
  for (const char* name : {"a", "b"}) {
    IngredientRecord record = read_ingredient_record(root_ / name);
    record.base_digest = origin;
    write_ingredient_record(root_ / name, record);
  }
  inputs.push_back(base);
  MergeOptions options = with({"dare_ties", {{"density", 0.5}}, UINT64_MAX});
  options.rules = {{"unet/conv.*", {{"b", 0.125}}}};
  const Ledger ledger = merge(inputs, root_ / "soup", options);
  EXPECT_EQ(to_json(read_ledger(root_ / "soup")), to_json(ledger));
  EXPECT_EQ(ledger.method(), "dare_ties");
  EXPECT_EQ(ledger.blend->parameters, (std::map<std::string, double>{{"density", 0.5}, {"drop", 0.9}, {"lambda", 1}}));
  EXPECT_EQ(ledger.blend->seed, UINT64_MAX);
  EXPECT_EQ(ledger.base_digest, origin);
  EXPECT_EQ(ledger.base->path, "../origin");
  EXPECT_EQ(ledger.base->parts.at("unet_ema").digest, part_digests(base.path).at("unet_ema"));
  EXPECT_EQ(ledger.find("b")->asked_weight, 2.5);
  EXPECT_EQ(ledger.find("b")->weight, 0);
  EXPECT_EQ(ledger.rules.front().weights.at("b"), 0.125);
  EXPECT_FALSE(fs::exists(root_ / "soup" / accumulator_folder));
  EXPECT_EQ(ledger.parts.at("unet"), weights_digest(Weights::open(root_ / "soup" / test::unet_file)));
  EXPECT_EQ(test::integers_of(root_ / "soup" / test::unet_file, "steps"), (std::vector<std::int64_t>{1, 1000}));

  // What verify does: the same again from what the ledger says.
  std::vector<MergeInput> again;
  for (const LedgerIngredient& entry : ledger.ingredients) {
    again.push_back({entry.name, root_ / "soup" / entry.path, entry.weight, {}, entry.asked_weight});
  }
  again.push_back({ledger.base->name, root_ / "soup" / ledger.base->path, 0, {}, {}, true});
  MergeOptions same = with(*ledger.blend);
  same.rules = ledger.rules;
  EXPECT_EQ(merge(again, root_ / "again", same).parts, ledger.parts);

  for (const auto& edit :
       std::vector<std::function<void()>>{[&] { add_ingredient(root_ / "soup", test::make_ingredient(root_, "c")); },
                                          [&] { remove_ingredient(root_ / "soup", "a"); }}) {
    try {
      edit();
      ADD_FAILURE() << "a blend was edited";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("was made by method dare_ties"), HasSubstr("soup merge --recipe")));
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
    }
  }
}

TEST_F(BlendTest, AFileCarriesItsLedgerHoweverLong) {
  const std::vector<MergeInput> inputs = plain(2, true);
  MergeOptions options = with({"ties", {}, {}});
  for (int i = 0; i < 200; ++i) {
    options.rules.push_back({"up.bias*", {{"a", 0.1 + i}, {"b", 1.0 / 3.0}}});
  }
  const Ledger ledger = merge(inputs, root_ / "soup.safetensors", options);
  const Weights soup = Weights::open(root_ / "soup.safetensors");
  const Ledger carried = ledger_from_json(parse_json(soup.metadata().at("soup.ledger"), "metadata"), "metadata");
  EXPECT_EQ(content_digest(carried), content_digest(ledger));
  EXPECT_EQ(carried.rules.size(), 200u);
  EXPECT_EQ(soup.metadata().at("soup.method"), "ties");
}

TEST_F(BlendTest, WithoutDigestsTheValuesAreTheSame) {
  const std::vector<MergeInput> inputs = plain(3, true);
  MergeOptions options = with({"ties", {}, {}});
  const Ledger ledger = merge(inputs, root_ / "soup.safetensors", options);
  options.work.digests = false;
  merge(inputs, root_ / "quick.safetensors", options);
  EXPECT_EQ(weights_digest(Weights::open(root_ / "quick.safetensors")), ledger.parts.at("model"));
}

TEST_F(BlendTest, RulesGiveTensorsTheirOwnWeights) {
  const std::vector<MergeInput> inputs = plain(2, true);
  MergeOptions ruled = with({"task_arithmetic", {}, {}});
  ruled.rules = {
      {"*", {{"a", 0.0}, {"b", 1.0}}}, {"down_*", {{"a", 1.0}, {"b", 0.0}}}, {"model/up.bias", {{"b", 0.0}}}};
  merge(inputs, root_ / "soup.safetensors", ruled);
  const test::Values soup = test::values_of(root_ / "soup.safetensors");
  EXPECT_EQ(soup.at("down_blocks.0.weight"), test::values_of(inputs[0].path).at("down_blocks.0.weight"));
  EXPECT_EQ(soup.at("mid.weight"), test::values_of(inputs[1].path).at("mid.weight"));
  EXPECT_EQ(soup.at("up.bias"), test::values_of(inputs[0].path).at("up.bias")) << "a keeps its own weight, 1";
}

TEST_F(BlendTest, BadParametersAndInputsAreRefusedBeforeAnyWork) {
  const std::vector<MergeInput> two = plain(2, false);
  const std::vector<MergeInput> with_base = plain(2, true);
  const auto with_weight = [&](double weight) {
    std::vector<MergeInput> inputs = with_base;
    inputs[0].asked = weight;
    return inputs;
  };
  const auto ruled = [&](const WeightRule& rule) {
    MergeOptions options = with({"ties", {}, {}});
    options.rules = {rule};
    return options;
  };
  EXPECT_THAT(refusal(with_base, with({"ties", {{"density", 0.0}}, {}})),
              HasSubstr("density is 0, but must be in (0, 1]"));
  EXPECT_THAT(refusal(with_base, with({"ties", {{"density", 1.5}}, {}})), HasSubstr("density is 1.5"));
  EXPECT_THAT(refusal(with_base, with({"dare_linear", {{"drop", 1.0}}, {}})),
              HasSubstr("drop is 1, but must be in [0, 1)"));
  EXPECT_THAT(refusal(with_base, with({"ties", {{"drop", 0.5}}, {}})), HasSubstr("method ties has no parameter drop"));
  EXPECT_THAT(refusal(with_base, with({"ties", {}, 1})), HasSubstr("it has no seed"));
  EXPECT_THAT(refusal(with_base, with({"tise", {}, {}})), HasSubstr("did you mean ties?"));
  EXPECT_THAT(refusal(plain(3, false), with({"slerp", {}, {}})), HasSubstr("slerp merges two models, but there are 3"));
  EXPECT_THAT(refusal(with_base, with({"slerp", {}, {}})), HasSubstr("has no use for a base"));
  EXPECT_THAT(refusal(two, with({"ties", {}, {}})), AllOf(HasSubstr("needs the base"), HasSubstr("--base PATH")));
  EXPECT_THAT(refusal(plain(1, true), with({"model_stock", {}, {}})), HasSubstr("two or more models"));
  EXPECT_THAT(refusal(with_weight(2), with({"model_stock", {}, {}})), HasSubstr("with a weight of 2"));
  EXPECT_THAT(refusal(with_weight(-1), with({"ties", {}, {}})), HasSubstr("ties with a weight of -1"));
  EXPECT_THAT(refusal(with_base, ruled({"down*", {{"a", -1}}})), HasSubstr("-1 in the rule for \"down*\""));
  EXPECT_THAT(refusal(with_base, ruled({"dwon*", {{"a", 1}}})), HasSubstr("matches the pattern \"dwon*\""));
  EXPECT_THAT(refusal(with_base, ruled({"down*", {{"base", 1}}})), HasSubstr("gives a weight to base"));
  EXPECT_THAT(refusal(with_base, ruled({"steps", {{"a", 1}}})), HasSubstr("no tensor that is averaged"));
}

TEST_F(BlendTest, UnequalModelsAreRefused) {
  std::vector<MergeInput> inputs = plain(2, true);
  const MergeOptions options = with({"task_arithmetic", {{"lambda", 1e6}}, {}});
  inputs[2] = test::write_plain(root_, "base", {.steps = 7});
  inputs[2].is_base = true;
  EXPECT_THAT(refusal(inputs, options),
              AllOf(HasSubstr("tensor steps (I64) differs between a and base, first at element 1")));
  inputs = plain(2, true);
  MergeOptions half = options;
  half.dtype = DType::f16;
  EXPECT_THAT(refusal(inputs, half), AllOf(HasSubstr("does not fit F16"), HasSubstr("--dtype f32")));
  inputs[1] = test::make_ingredient(root_, "c");
  inputs[1].path /= test::unet_file;
  EXPECT_THAT(refusal(inputs, options), HasSubstr("c"));
}

TEST_F(BlendTest, ValuesThatAreNotFiniteAreNamed) {
  std::vector<MergeInput> inputs;
  for (const char* name : {"a", "b", "origin"}) {
    test::Flaws flaws{.with_record = false};
    flaws.poison = std::string(name) == "b" ? std::numeric_limits<float>::infinity() : 0.0F;
    inputs.push_back(test::make_ingredient(root_, name, 1, flaws));
  }
  inputs[2].is_base = true;
  for (const MethodSettings& settings : three_model_methods) {
    EXPECT_THAT(refusal(inputs, with(settings)),
                AllOf(HasSubstr("ingredient b, tensor"), HasSubstr("conv.weight"), HasSubstr("17")));
  }
}

TEST_F(BlendTest, ABaseThatIsAnotherIsRefused) {
  std::vector<MergeInput> inputs{test::make_ingredient(root_, "a"), test::make_ingredient(root_, "b"),
                                 test::make_ingredient(root_, "origin", 1, {.with_record = false})};
  inputs[2].is_base = true;
  EXPECT_THAT(refusal(inputs, with({"ties", {}, {}})), AllOf(HasSubstr("origin"), HasSubstr("its base is")));
}

}  // namespace
}  // namespace soup
