// Exact means with weights by tensor and with a base as a term: values against the oracle, ledger, what is refused.
#include <gmock/gmock.h>

#include "core/error.hpp"
#include "merge/edit.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/integer_weights.hpp"
#include "merge/merge_files.hpp"
#include "merge/strict_json.hpp"
#include "merge/weights_digest.hpp"
#include "tests/merge/models.hpp"
#include "tests/merge/oracle.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class WeightedMeanTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();

  // A tensor of the U-Net of these models, averaged with these weights at `scale_bits`.
  static std::vector<float> oracle(const std::vector<std::pair<std::string, std::int64_t>>& models,
                                   const std::string& tensor, std::size_t count, int scale_bits) {
    std::vector<std::vector<float>> weights;
    std::vector<test::OracleTerm> terms;
    for (const auto& [name, weight] : models) {
      weights.push_back(test::weights_named(name + " " + tensor, count));
    }
    for (std::size_t i = 0; i < models.size(); ++i) {
      terms.push_back({weights[i], models[i].second});
    }
    return test::oracle_soup(terms, scale_bits);
  }
};

TEST_F(WeightedMeanTest, RulesGiveEachTensorItsOwnExactMean) {
  std::vector<MergeInput> inputs{test::make_ingredient(root_, "a"), test::make_ingredient(root_, "b")};
  const std::vector<std::string> names{"a", "b"};
  const std::vector<WeightRule> asked{{"unet/*.bias", {{"a", 2}}}, {"unet_ema/*", {{"a", 0}}}};
  const IntegerWeights used = integer_weights(names, std::vector<double>{1, 1}, asked);
  MergeOptions options;
  options.rules = used.rules;
  for (std::size_t i = 0; i < 2; ++i) {
    inputs[i].weight = used.weights[i];
    inputs[i].asked = 1.0;
  }
  const Ledger ledger = merge(inputs, root_ / "soup", options);
  EXPECT_EQ(ledger.total_weight, 6);
  EXPECT_EQ(ledger.method(), "weighted");
  EXPECT_EQ(to_json(read_ledger(root_ / "soup")), to_json(ledger));
  const fs::path file = root_ / "soup" / test::unet_file;
  EXPECT_EQ(test::floats_of(file, "conv.weight"), oracle({{"a", 3}, {"b", 3}}, "conv", 120, 44));
  EXPECT_EQ(test::floats_of(file, "conv.bias"), oracle({{"a", 4}, {"b", 2}}, "bias", 7, 44));
  EXPECT_EQ(test::floats_of(root_ / "soup" / test::ema_file, "conv.weight"), test::weights_named("b ema conv", 120));

  for (const std::string& refused : {std::string("add"), std::string("remove")}) {
    try {
      refused == "add" ? add_ingredient(root_ / "soup", test::make_ingredient(root_, "c"))
                       : remove_ingredient(root_ / "soup", "a").ledger;
      ADD_FAILURE() << "a soup with rules was edited";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("a mean with weights by tensor"));
    }
  }
}

TEST_F(WeightedMeanTest, ALedgersRulesMustAddUp) {
  std::vector<MergeInput> inputs{test::make_ingredient(root_, "a"), test::make_ingredient(root_, "b")};
  MergeOptions options;
  options.rules = {{"*.bias", {{"a", 2}, {"b", 0}}}};
  const nlohmann::json good = to_json(merge(inputs, root_ / "soup", options));
  const auto refusal = [&](const std::function<void(nlohmann::json&)>& change) -> std::string {
    nlohmann::json value = good;
    change(value);
    try {
      ledger_from_json(value, "ledger.json");
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal([](nlohmann::json&) {}), "");
  EXPECT_THAT(refusal([](auto& l) { l["rules"][0]["weights"]["a"] = 1; }), HasSubstr("the total weight 1"));
  EXPECT_THAT(refusal([](auto& l) { l["rules"][0]["weights"]["c"] = 0; }), HasSubstr("gives c the weight 0"));
  EXPECT_THAT(refusal([](auto& l) { l["rules"][0]["weights"]["a"] = 1.5; }), HasSubstr("gives a the weight 1.5"));
  EXPECT_THAT(refusal([](auto& l) { l["rules"][0]["weights"].erase("b"); }), HasSubstr("gives 1 ingredients"));
  EXPECT_THAT(refusal([](auto& l) { l["rules"][0]["colour"] = 1; }), HasSubstr("rules[0].colour is not a known key"));
  EXPECT_THAT(refusal([](auto& l) { l["seed"] = "1"; }), HasSubstr("methods that are no mean"));
  EXPECT_THAT(refusal([](auto& l) { l["base"] = l["ingredients"][0]; }), HasSubstr("of methods that start from one"));
  EXPECT_THAT(refusal([](auto& l) { l["method"] = "ties"; }), HasSubstr("are not all those of method ties"));
  EXPECT_THAT(refusal([](auto& l) { l["method"] = "tise"; }), HasSubstr("is none of"));
}

TEST_F(WeightedMeanTest, PullBackIsTheExactMeanWithTheBaseAndCanBeEdited) {
  MergeInput base = test::make_ingredient(root_, "origin");
  IngredientRecord record = read_ingredient_record(base.path);
  record.kind = ModelKind::base;
  record.base_digest.reset();
  record.trained_parts = {"text_encoder", "unet", "unet_ema"};
  write_ingredient_record(base.path, record);
  base.is_base = true;
  std::vector<MergeInput> inputs;
  for (const char* name : {"a", "b", "c"}) {
    inputs.push_back(test::make_ingredient(root_, name));
    IngredientRecord trained = read_ingredient_record(inputs.back().path);
    trained.base_digest = model_digest(record.weights);
    write_ingredient_record(inputs.back().path, trained);
  }
  inputs.push_back(base);
  const std::vector<std::string> names{"a", "b", "c", "origin"};
  const IntegerWeights used = integer_weights(names, pulled_back(std::vector<double>{1, 1, 2}, 0.75));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    inputs[i].weight = used.weights[i];
  }
  const Ledger ledger = merge(inputs, root_ / "soup");
  EXPECT_EQ(ledger.total_weight, 16);
  EXPECT_EQ(test::floats_of(root_ / "soup" / test::unet_file, "conv.weight"),
            oracle({{"a", 3}, {"b", 3}, {"c", 6}, {"origin", 4}}, "conv", 120, 44));
  remove_ingredient(root_ / "soup", "a");
  EXPECT_EQ(test::floats_of(root_ / "soup" / test::unet_file, "conv.weight"),
            oracle({{"b", 3}, {"c", 6}, {"origin", 4}}, "conv", 120, 44));
  fs::remove_all(root_ / "soup" / accumulator_folder);
  add_ingredient(root_ / "soup", inputs[0]);
  EXPECT_EQ(content_digest(read_ledger(root_ / "soup")), content_digest(ledger));
}

TEST_F(WeightedMeanTest, QuantisedWeightsAreExactAtTheirScale) {
  std::vector<MergeInput> inputs{test::make_ingredient(root_, "a"), test::make_ingredient(root_, "b")};
  const std::vector<std::string> names{"a", "b"};
  const std::vector<double> asked{0.33333, 0.66667};
  const IntegerWeights used = integer_weights(names, asked);
  for (std::size_t i = 0; i < 2; ++i) {
    inputs[i].weight = used.weights[i];
    inputs[i].asked = asked[i];
  }
  MergeOptions options;
  options.scale_bits = scale_bits_for(used.total);
  const Ledger ledger = merge(inputs, root_ / "soup", options);
  EXPECT_EQ(ledger.find("a")->asked_weight, 0.33333);
  EXPECT_EQ(ledger.accumulator.kind, AccumulatorKind::wide);
  EXPECT_EQ(to_json(read_ledger(root_ / "soup")), to_json(ledger));
  const std::vector<float> soup = test::floats_of(root_ / "soup" / test::unet_file, "conv.weight");
  EXPECT_EQ(soup, oracle({{"a", 349522}, {"b", 699054}}, "conv", 120, 36));
  const std::vector<float> a = test::weights_named("a conv", 120);
  const std::vector<float> b = test::weights_named("b conv", 120);
  for (std::size_t i = 0; i < soup.size(); ++i) {
    // Weights are off by 2^-21 of a difference below 0.3, values by 2^-37, the soup by half an ulp.
    EXPECT_NEAR(soup[i], 0.33333 * a[i] + 0.66667 * b[i], 0.3 * 0x1p-21 + 0x1p-37 + 0x1p-28);
  }
}

}  // namespace
}  // namespace soup
