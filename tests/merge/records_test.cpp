// ledger.json and ingredient.json: round trips, and every way in which their text can be wrong.
#include <gmock/gmock.h>

#include <functional>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/ledger.hpp"
#include "merge/strict_json.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Ledger example() {
  Ledger ledger;
  ledger.program = program_version();
  ledger.scale_bits = 44;
  ledger.total_weight = 3;
  ledger.dtype = "F32";
  ledger.base_digest = sha256("base");
  ledger.parts = {{"unet", sha256("u")}, {"unet_ema", sha256("e")}};
  for (const auto& [name, weight] : {std::pair{"oxygen", 1}, std::pair{"tango", 2}}) {
    LedgerIngredient ingredient;
    ingredient.name = name;
    ingredient.weight = weight;
    ingredient.base_digest = sha256("base");
    ingredient.images = 640;
    ingredient.path = std::string("../ingredients/") + name;
    ingredient.parts = {{"unet", {sha256(name), 0.1}}, {"unet_ema", {sha256("x"), 0x1.fffffep-3}}};
    ledger.ingredients.push_back(ingredient);
  }
  ledger.accumulator = {AccumulatorKind::compact, {{"unet", sha256("au")}, {"unet_ema", sha256("ae")}}};
  ledger.history = {{"made", "", 3, "2025-01-02T03:04:05Z"}};
  return ledger;
}

TEST(LedgerJson, ComesBackEqual) {
  const test::TemporaryFolder folder;
  write_ledger(folder.path(), example());
  const Ledger read = read_ledger(folder.path());
  EXPECT_EQ(to_json(read), to_json(example()));
  EXPECT_EQ(read.ingredients[1].parts.at("unet_ema").largest, 0x1.fffffep-3);
  EXPECT_FALSE(read.ingredients[0].data_root_digest.has_value());
  EXPECT_EQ(read.method(), "weighted");
  EXPECT_NE(read.find("tango"), nullptr);
  EXPECT_EQ(read.find("breeze"), nullptr);
}

TEST(LedgerJson, ContentDigestIgnoresTimesPathsAndProgramOnly) {
  const Digest digest = content_digest(example());
  Ledger other = example();
  other.history.push_back({"added", "x", 4, "2026-01-01T00:00:00Z"});
  other.program = "soup 9";
  other.ingredients[0].path = "/elsewhere";
  EXPECT_EQ(content_digest(other), digest);
  other.ingredients[0].images = 1;
  EXPECT_NE(content_digest(other), digest);
}

std::string ledger_refusal(const std::function<void(json&)>& change) {
  json value = to_json(example());
  change(value);
  try {
    ledger_from_json(value, "run/soup/ledger.json");
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(LedgerJson, WhatASoupOfSurvivorsIsMissingIsKeptAndChangesNoDigest) {
  Ledger ledger = example();
  const Digest digest = content_digest(ledger);
  EXPECT_FALSE(to_json(ledger)["history"][0].contains("missing"));
  ledger.history[0].missing = {{"tango", "NaN after 96 images"}};
  EXPECT_EQ(content_digest(ledger), digest);
  EXPECT_EQ(ledger_from_json(to_json(ledger), "ledger.json").history[0].missing, ledger.history[0].missing);
  EXPECT_THAT(ledger_refusal([](json& l) { l["history"][0]["missing"] = {{"tango", 3}}; }), HasSubstr("missing.tango"));
  EXPECT_THAT(ledger_refusal([](json& l) { l["history"][0]["missing"] = "tango"; }), HasSubstr("missing"));
  EXPECT_THAT(ledger_refusal([](json& l) {
                l["history"][0]["action"] = "added";
                l["history"][0]["missing"] = {{"tango", "why"}};
              }),
              HasSubstr("missing is given, but the action is \"added\""));
}

TEST(LedgerJson, EveryMistakeIsNamed) {
  const std::vector<std::pair<std::function<void(json&)>, std::string>> mistakes{
      {[](json& l) { l.erase("schema"); }, "schema is missing"},
      {[](json& l) { l["schema"] = 3; }, "schema is 3"},
      {[](json& l) { l["schema"] = "1"; }, "schema is \"1\", not an integer"},
      {[](json& l) { l["colour"] = 1; }, "colour is not a known key"},
      {[](json& l) { l["ingredients"][1]["wieght"] = 1; }, "did you mean weight?"},
      {[](json& l) { l["ingredients"][1]["weight"] = 0; }, "ingredients[1].weight is 0"},
      {[](json& l) { l["ingredients"][1]["weight"] = 1.5; }, "ingredients[1].weight is 1.5, not an integer"},
      {[](json& l) { l["ingredients"][1]["weight"] = UINT64_MAX; }, "not an integer"},
      {[](json& l) { l["ingredients"][0]["name"] = "zebra"; }, "sorted by name"},
      {[](json& l) { l["ingredients"][0]["name"] = "tango"; }, "sorted by name and unique"},
      {[](json& l) { l["ingredients"][0]["parts"].erase("unet"); }, "other parts than the soup"},
      {[](json& l) { l["ingredients"][0]["parts"]["unet"]["digest"] = "12"; }, "not the 64 hex digits"},
      {[](json& l) { l["ingredients"][1]["parts"]["unet"]["largest"] = -0.5; },
       "ingredients[1].parts.unet.largest is -0.5"},
      {[](json& l) { l["ingredients"] = json::array(); }, "without ingredients"},
      {[](json& l) { l["ingredients"] = "none"; }, "ingredients is string, not a list"},
      {[](json& l) { l["ingredients"][0] = 7; }, "ingredients[0] is number, not an object"},
      {[](json& l) { l["total_weight"] = 4; }, "total_weight is 4, but the ingredients' weights add up to 3"},
      {[](json& l) { l["scale_bits"] = 53; }, "scale_bits is 53"},
      {[](json& l) { l["dtype"] = "I64"; }, "dtype is \"I64\""},
      {[](json& l) { l["accumulator"]["kind"] = "tiny"; }, "none of none, compact and wide"},
      {[](json& l) { l["accumulator"]["parts"].erase("unet"); }, "accumulator.parts are not those of the soup"},
      {[](json& l) { l["method"] = "uniform"; }, "the weights are weighted"},
      {[](json& l) { l["parts"]["unet"] = sha256("forged").hex(); }, "but the parts give"},
      {[](json& l) { l["base_digest"] = 3; }, "base_digest is number, not a text"},
      {[](json& l) { l["history"][0]["action"] = "stirred"; }, "must be made, added or removed"},
      {[](json& l) { l["history"][0]["certificate"] = sha256("c").hex(); }, "certificate is given, but the action"},
      {[](json& l) { l = json::array(); }, "the file is array, not an object"},
  };
  for (const auto& [change, message] : mistakes) {
    EXPECT_THAT(ledger_refusal(change), testing::AllOf(HasSubstr("run/soup/ledger.json"), HasSubstr(message)));
  }
}

IngredientRecord example_record() {
  IngredientRecord record;
  record.name = "oxygen";
  record.base_digest = sha256("base");
  record.images = 640;
  record.seed = UINT64_MAX;
  record.shards = {"data/oxygen.h5"};
  record.trained_parts = {"unet"};
  record.weights = {{"text_encoder", sha256("t")}, {"unet", sha256("u")}};
  return record;
}

TEST(IngredientRecordJson, ComesBackEqual) {
  const test::TemporaryFolder folder;
  EXPECT_FALSE(find_ingredient_record(folder.path()).has_value());
  write_ingredient_record(folder.path(), example_record());
  const IngredientRecord read = read_ingredient_record(folder.path());
  EXPECT_EQ(read.name, "oxygen");
  EXPECT_EQ(read.kind, ModelKind::ingredient);
  EXPECT_EQ(read.base_digest, sha256("base"));
  EXPECT_EQ(read.seed, UINT64_MAX);
  EXPECT_EQ(read.weights, example_record().weights);
  EXPECT_EQ(read.shards, example_record().shards);
  EXPECT_EQ(read.trained_parts, example_record().trained_parts);
}

TEST(IngredientRecordJson, EveryMistakeIsNamed) {
  const test::TemporaryFolder folder;
  write_ingredient_record(folder.path(), example_record());
  const json good = read_json(folder.path() / ingredient_record_name);
  const std::vector<std::pair<std::function<void(json&)>, std::string>> mistakes{
      {[](json& r) { r["kind"] = "sauce"; }, "must be base, ingredient or paragon"},
      {[](json& r) { r["kind"] = "base"; }, "a base has none"},
      {[](json& r) { r["base_digest"] = nullptr; }, "only a base has none"},
      {[](json& r) { r["seed"] = "18446744073709551616"; }, "not a 64-bit number"},
      {[](json& r) { r["seed"] = "7x"; }, "not a 64-bit number"},
      {[](json& r) { r["seed"] = ""; }, "not a 64-bit number"},
      {[](json& r) { r["images"] = -1; }, "images is -1"},
      {[](json& r) { r["trained_parts"] = {"vae"}; }, "names vae, which has no digest"},
      {[](json& r) { r["shards"] = {1}; }, "shards holds number"},
      {[](json& r) { r["more"] = 1; }, "more is not a known key"},
  };
  for (const auto& [change, message] : mistakes) {
    json value = good;
    change(value);
    write_json(folder.path() / ingredient_record_name, value);
    try {
      read_ingredient_record(folder.path());
      ADD_FAILURE() << message;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  }
}

}  // namespace
}  // namespace soup
