// Certificates of removal: what they say of real removals, and that nothing in them can be changed unnoticed.
#include "merge/certificate.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/error.hpp"
#include "merge/edit.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/strict_json.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

SigningKey key_of(std::uint8_t seed) {
  std::array<std::uint8_t, 32> secret{};
  secret.fill(seed);
  return SigningKey(secret);
}

class CertificateTest : public testing::Test {
 protected:
  CertificateTest() {
    for (const auto& [name, weight] : {std::pair{"a", 1}, std::pair{"b", 2}, std::pair{"c", 1}}) {
      inputs_.push_back(test::make_ingredient(root_, name, weight));
    }
  }
  Removal removal(const RemovalOptions& options = {}) {
    merge(inputs_, root_ / "soup");
    return remove_ingredient(root_ / "soup", "b", {}, options);
  }
  static const NotCovered& finding(const Certificate& certificate, const std::string& kind) {
    return *std::ranges::find(certificate.not_covered, kind, &NotCovered::kind);
  }

  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();
  std::vector<MergeInput> inputs_;
};

TEST_F(CertificateTest, SaysWhatWasRemovedAndComesBackEqual) {
  const Ledger before = merge(inputs_, root_ / "soup");
  const Removal removal = remove_ingredient(root_ / "soup", "b");
  EXPECT_EQ(removal.certificate_file, root_ / "soup/removals/1-b.json");
  const Certificate read = read_certificate(removal.certificate_file);
  EXPECT_EQ(to_json(read), to_json(removal.certificate));
  EXPECT_EQ(certificate_digest(read), read_ledger(root_ / "soup").history.back().certificate);
  EXPECT_EQ(read.removed, "b");
  EXPECT_EQ(read.how, "subtracted");
  EXPECT_EQ(read.program, program_version());
  EXPECT_EQ(content_digest(read.before), content_digest(before));
  EXPECT_EQ(content_digest(read.after), content_digest(read_ledger(root_ / "soup")));
  EXPECT_EQ(read.before.accumulator.parts, before.accumulator.parts);
  EXPECT_FALSE(read.signature.has_value());
  const json value = read_json(removal.certificate_file);
  EXPECT_EQ(value.at("removed").at("weight"), 2);
  EXPECT_EQ(value.at("removed").at("data_root_digest"), sha256("data of b").hex());
  EXPECT_EQ(value.at("removed").at("parts").at("unet").at("digest"), before.find("b")->parts.at("unet").digest.hex());
  EXPECT_EQ(value.at("before").at("ledger").at("total_weight"), 4);
  EXPECT_EQ(value.at("after").at("ledger").at("total_weight"), 2);
  EXPECT_EQ(value.dump().find(root_.string()), std::string::npos) << "no path of this machine";
}

TEST_F(CertificateTest, WhatItDoesNotCover) {
  const Certificate certificate = removal().certificate;
  const NotCovered& pretraining = finding(certificate, "pretraining");
  EXPECT_EQ(pretraining.digests.at("base"), sha256("base"));
  EXPECT_EQ(pretraining.digests.at("text_encoder"), part_digests(inputs_[0].path).at("text_encoder"));
  EXPECT_EQ(pretraining.digests.size(), 2U) << "unet and unet_ema were trained";
  EXPECT_THAT(finding(certificate, "choices").text, HasSubstr("not all equal"));
  EXPECT_THAT(finding(certificate, "same_images").text, AllOf(HasSubstr("was not looked up"), HasSubstr("data/b.h5")));
  EXPECT_EQ(finding(certificate, "earlier_soups").soups.size(), 1U);
  EXPECT_THAT(finding(certificate, "copies").text, HasSubstr("../b"));
}

TEST_F(CertificateTest, ListsTheEarlierSoupsThatHeldIt) {
  merge({inputs_[0], inputs_[1]}, root_ / "soup");  // 0: a b
  add_ingredient(root_ / "soup", inputs_[2]);       // 1: a b c
  remove_ingredient(root_ / "soup", "b");           // 2: a c
  remove_ingredient(root_ / "soup", "a");           // 3: c
  add_ingredient(root_ / "soup", inputs_[1]);       // 4: b c
  add_ingredient(root_ / "soup", inputs_[0]);       // 5: a b c
  const Certificate last = remove_ingredient(root_ / "soup", "b").certificate;
  std::vector<std::int64_t> entries;
  std::ranges::transform(finding(last, "earlier_soups").soups, std::back_inserter(entries), &EarlierSoup::entry);
  EXPECT_THAT(entries, testing::ElementsAre(0, 1, 4, 5));
  EXPECT_EQ(finding(last, "earlier_soups").soups[1].total_weight, 4);
  std::vector<std::string> files;
  for (const fs::directory_entry& file : fs::directory_iterator(root_ / "soup/removals")) {
    files.push_back(file.path().filename().string());
  }
  EXPECT_THAT(files, testing::UnorderedElementsAre("2-b.json", "3-a.json", "6-b.json"));
}

TEST_F(CertificateTest, EveryChangedValueIsNoticed) {
  RemovalOptions options;
  options.key = key_of(1);
  const json good = to_json(removal(options).certificate);
  const auto is_noticed = [](const json& value) {
    try {
      return !has_good_signature(certificate_from_json(value, "x.json"));
    } catch (const DataError&) {
      return true;
    }
  };
  ASSERT_FALSE(is_noticed(good));
  const json flat = good.flatten();
  ASSERT_GT(flat.size(), 80U);
  for (const auto& [pointer, leaf] : flat.items()) {
    json changed = good;
    json& place = changed.at(json::json_pointer(pointer));
    if (leaf.is_string()) {
      const auto text = leaf.get<std::string>();
      place = text.empty() ? "x" : std::string(1, text[0] == '0' ? '1' : '0') + text.substr(1);
    } else if (leaf.is_number_integer()) {
      place = leaf.get<std::int64_t>() + 1;
    } else if (leaf.is_number_float()) {
      place = std::nextafter(leaf.get<double>(), 1.0);
    } else {
      place = "x";
    }
    EXPECT_TRUE(is_noticed(changed)) << pointer;
  }
  for (const auto& [key, value] : good.items()) {
    json less = good;
    less.erase(key);
    EXPECT_TRUE(is_noticed(less)) << key;
  }
  json more = good;
  more["more"] = 1;
  EXPECT_TRUE(is_noticed(more));
}

TEST_F(CertificateTest, EveryMistakeIsNamed) {
  RemovalOptions options;
  options.key = key_of(1);
  const json good = to_json(removal(options).certificate);
  const std::vector<std::pair<std::function<void(json&)>, std::string>> mistakes{
      {[](json& c) { c["schema"] = 2; }, "schema is 2"},
      {[](json& c) { c["kind"] = "receipt"; }, "kind is not"},
      {[](json& c) { c["how"] = "wished away"; }, "must be subtracted or made anew"},
      {[](json& c) { c["removed"]["name"] = "z"; }, "before.ledger has no such ingredient"},
      {[](json& c) { c["removed"]["images"] = 1; }, "removed is not what before.ledger says of b"},
      {[](json& c) { c["before"]["ledger"]["ingredients"][0]["images"] = 1; }, "before.content_digest is"},
      {[](json& c) { c["before"]["ledger"]["total_weight"] = 9; }, "before.ledger: x.json: total_weight is 9"},
      {[](json& c) { c["before"]["ledger"]["history"] = json::array(); }, "history is no part of a ledger's state"},
      {[](json& c) { c["after"] = c["before"]; }, "after.ledger.ingredients is not that of before.ledger without b"},
      {[](json& c) { c["not_covered"][0]["kind"] = "weather"; }, "not_covered[0].kind is \"weather\", not one of"},
      {[](json& c) { c["not_covered"].erase(1); }, "says nothing of same_images"},
      {[](json& c) { c["not_covered"].push_back(c["not_covered"][2]); }, "has choices twice"},
      {[](json& c) { c["inversion"]["measured"]["relative_error"] = 0.5; }, "relative_error"},
      {[](json& c) { c["inversion"]["not_measured"] = "rain"; }, "must give a reason exactly where"},
      {[](json& c) { c["signature"]["algorithm"] = "none"; }, "must be Ed25519"},
      {[](json& c) { c["signature"]["public_key"] = "AAAA"; }, "public_key is not 32 bytes in base64"},
      {[](json& c) { c["signature"]["fingerprint"] = sha256("x").hex(); }, "fingerprint is not that of public_key"},
      {[](json& c) { c["signature"] = 7; }, "signature is number, not an object"},
      {[](json& c) { c["removed"] = "b"; }, "removed is string, not an object"},
      {[](json& c) { c = json::array(); }, "the file is array, not an object"},
  };
  for (const auto& [change, message] : mistakes) {
    json value = good;
    change(value);
    try {
      certificate_from_json(value, "x.json");
      ADD_FAILURE() << message;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("x.json"), HasSubstr(message)));
    }
  }
}

TEST_F(CertificateTest, IsSignedByOneKey) {
  RemovalOptions options;
  options.key = key_of(1);
  const Removal removed = removal(options);
  Certificate certificate = read_certificate(removed.certificate_file);
  EXPECT_EQ(certificate.signature->key, key_of(1).public_key());
  EXPECT_TRUE(has_good_signature(certificate));
  certificate.signature->key = key_of(2).public_key();
  EXPECT_FALSE(has_good_signature(certificate));
  const Digest digest = certificate_digest(certificate);
  sign(certificate, key_of(2));
  EXPECT_TRUE(has_good_signature(certificate));
  EXPECT_EQ(certificate_digest(certificate), digest) << "the ledger's digest does not depend on who signs";
}

TEST_F(CertificateTest, ASoupOfEveryKindOfAccumulator) {
  for (const AccumulatorKind kind : {AccumulatorKind::none, AccumulatorKind::compact, AccumulatorKind::wide}) {
    MergeOptions options;
    options.accumulator = kind;
    const fs::path soup = root_ / std::string(name_of(kind));
    merge(inputs_, soup, options);
    const Certificate certificate = remove_ingredient(soup, "b").certificate;
    EXPECT_EQ(certificate.how, kind == AccumulatorKind::none ? "made anew" : "subtracted");
    EXPECT_EQ(certificate.before.accumulator.kind, kind);
    EXPECT_EQ(certificate.after.accumulator.kind, kind);
    EXPECT_TRUE(certificate.inversion.has_value());
    EXPECT_EQ(certificate_digest(read_certificate(soup / "removals/1-b.json")),
              read_ledger(soup).history.back().certificate);
  }
}

TEST_F(CertificateTest, WithoutTheIngredientNothingIsMeasured) {
  merge(inputs_, root_ / "soup");
  fs::remove_all(inputs_[1].path);
  const Certificate certificate = remove_ingredient(root_ / "soup", "b").certificate;
  EXPECT_EQ(certificate.how, "made anew");
  EXPECT_FALSE(certificate.inversion.has_value());
  EXPECT_THAT(certificate.not_measured, HasSubstr("not here"));

  MergeOptions options;
  options.accumulator = AccumulatorKind::none;
  merge({inputs_[0], inputs_[2]}, root_ / "other", options);
  const std::string changed = (inputs_[2].path / test::unet_file).string();
  fs::copy_file(inputs_[0].path / test::unet_file, changed, fs::copy_options::overwrite_existing);
  EXPECT_THAT(remove_ingredient(root_ / "other", "c").certificate.not_measured, HasSubstr("are not those"));
}

// Names are any text; files are not.
TEST_F(CertificateTest, FilesHavePlainNames) {
  EXPECT_EQ(certificate_file(3, "../x y\xc3\xa9"), "removals/3-.._x_y__.json");
  EXPECT_EQ(certificate_file(12, std::string(255, 'n')).filename().string().size(), 3U + 100U + 5U);
  inputs_[1].name = "../../evil";
  merge(inputs_, root_ / "soup");
  EXPECT_TRUE(fs::exists(remove_ingredient(root_ / "soup", "../../evil").certificate_file));
  EXPECT_FALSE(fs::exists(root_.parent_path() / "evil.json"));
}

}  // namespace
}  // namespace soup
