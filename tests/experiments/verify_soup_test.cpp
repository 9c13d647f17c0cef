// `soup verify` of soups and certificates: random histories hold, every kind of tampering is found, and what is missing
// is not passed.
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "data/split.hpp"
#include "experiments/exclusions.hpp"
#include "experiments/experiment.hpp"
#include "experiments/stage.hpp"
#include "experiments/verify.hpp"
#include "merge/edit.hpp"
#include "merge/ingredient_record.hpp"
#include "merge/strict_json.hpp"
#include "tests/data/samples.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

SigningKey signer(std::uint8_t seed) {
  std::array<std::uint8_t, 32> secret{};
  secret.fill(seed);
  return SigningKey(secret);
}

std::size_t count(const std::vector<Finding>& findings, FindingState state) {
  return static_cast<std::size_t>(std::ranges::count(findings, state, &Finding::state));
}

// All findings in this state, as text.
std::string text_of(const std::vector<Finding>& findings, FindingState state) {
  std::string text;
  for (const Finding& finding : findings) {
    if (finding.state == state) {
      text += finding.what.string() + ": " + finding.detail + "\n";
    }
  }
  return text;
}

class VerifySoupTest : public testing::Test {
 protected:
  VerifySoupTest() {
    options_.key = signer(1);
    for (const auto& [name, weight] : {std::pair{"a", 1}, std::pair{"b", 2}, std::pair{"c", 1}, std::pair{"d", 1}}) {
      inputs_.push_back(test::make_ingredient(root_, name, weight));
    }
  }
  // a b c d, then b removed, c removed, b added again.
  void make_soup() {
    merge(inputs_, soup_);
    remove_ingredient(soup_, "b", {}, options_);
    remove_ingredient(soup_, "c", {}, options_);
    add_ingredient(soup_, inputs_[1]);
  }
  std::string bad(const VerifyOptions& options = {}) { return text_of(verify(soup_, options), FindingState::bad); }
  void change_json(const fs::path& file, const std::function<void(json&)>& change) {
    json value = read_json(file);
    change(value);
    write_json(file, value);
  }

  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();
  fs::path soup_ = root_ / "soup";
  std::vector<MergeInput> inputs_;
  RemovalOptions options_;
};

TEST_F(VerifySoupTest, RandomHistoriesHold) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    RandomStream stream(seed, 2);
    const fs::path soup = root_ / ("soup" + std::to_string(seed));
    std::vector<MergeInput> in{inputs_[0], inputs_[1], inputs_[2]};
    std::vector<MergeInput> out{inputs_[3]};
    MergeOptions merging;
    merging.accumulator = std::array{AccumulatorKind::none, AccumulatorKind::compact, AccumulatorKind::wide}[seed % 3];
    merge(in, soup, merging);
    std::size_t removals = 0;
    for (int step = 0; step < 6; ++step) {
      const auto [moved, add] = test::random_step(stream, in, out);
      if (add) {
        add_ingredient(soup, moved);
      } else {
        remove_ingredient(soup, moved.name, {}, options_);
        ++removals;
      }
    }
    const std::vector<Finding> findings = verify(soup, {signer(1).public_key()});
    EXPECT_EQ(text_of(findings, FindingState::bad), "");
    const auto is_certificate = [&](const Finding& finding) {
      return finding.good() && finding.what.parent_path() == soup / removals_folder;
    };
    EXPECT_EQ(std::ranges::count_if(findings, is_certificate), static_cast<std::ptrdiff_t>(2 * removals))
        << "a signature and a place in the history each";
    for (const fs::directory_entry& file : fs::directory_iterator(soup / removals_folder)) {
      const std::vector<Finding> alone = verify(file.path(), {signer(1).public_key()});
      EXPECT_EQ(count(alone, FindingState::good), 3U) << text_of(alone, FindingState::bad);
      EXPECT_EQ(alone.size(), 3U);
    }
  }
}

TEST_F(VerifySoupTest, SaysWhatItRecomputedAndWhatItCouldNot) {
  make_soup();
  const std::vector<Finding> findings = verify(soup_);
  EXPECT_EQ(text_of(findings, FindingState::bad), "");
  const std::string good = text_of(findings, FindingState::good);
  EXPECT_THAT(good, HasSubstr("2 parts, weights"));
  EXPECT_THAT(good, HasSubstr("compact sums of 2 parts, which give the weights to the bit"));
  EXPECT_THAT(good, HasSubstr("the same bits again from 3 ingredients, total weight 4"));
  EXPECT_THAT(good, HasSubstr("a history of 4 entries that leads to these 3 ingredients"));
  EXPECT_THAT(good, HasSubstr("entry 1 removed b, total weight 5 to 3; b was added later"));
  EXPECT_THAT(good, HasSubstr("entry 2 removed c, total weight 3 to 2; its weights are in the soup no more"));
  EXPECT_THAT(good, HasSubstr("ingredient a as the ledger has it"));
  const std::string unknown = text_of(findings, FindingState::not_checked);
  EXPECT_THAT(unknown, HasSubstr("[data/a.h5] are not here"));
  EXPECT_EQ(count(findings, FindingState::not_checked), 3U) << unknown;
}

TEST_F(VerifySoupTest, WhatIsMissingIsNotPassed) {
  make_soup();
  fs::remove_all(inputs_[0].path);
  fs::remove_all(soup_ / "accumulator");
  fs::remove(soup_ / "removals/1-b.json");
  const std::vector<Finding> findings = verify(soup_);
  EXPECT_EQ(text_of(findings, FindingState::bad), "");
  const std::string unknown = text_of(findings, FindingState::not_checked);
  EXPECT_THAT(unknown, HasSubstr("whether its ingredients give these weights: not here are " + (root_ / "a").string()));
  EXPECT_THAT(unknown, HasSubstr("what ingredient a was trained on"));
  EXPECT_THAT(unknown, HasSubstr("accumulator: the sums that the ledger lists are not here"));
  EXPECT_THAT(unknown, HasSubstr("the certificate of the removal of b is not here"));
}

TEST_F(VerifySoupTest, Signatures) {
  make_soup();
  EXPECT_EQ(bad({signer(1).public_key()}), "");
  EXPECT_THAT(bad({signer(2).public_key()}), HasSubstr("but a signature of"));
  const fs::path file = soup_ / "removals/2-c.json";
  Certificate certificate = read_certificate(file);
  certificate.signature.reset();
  write_certificate(file, certificate);
  EXPECT_EQ(bad(), "");
  EXPECT_THAT(text_of(verify(soup_), FindingState::not_checked), HasSubstr("it is not signed"));
  EXPECT_THAT(bad({signer(1).public_key()}), HasSubstr("is not signed, but"));
  sign(certificate, signer(2));
  certificate.signature->key = signer(1).public_key();
  write_certificate(file, certificate);
  EXPECT_THAT(bad(), HasSubstr("its signature is not that of its content"));
}

TEST_F(VerifySoupTest, AChangedCertificateIsFoundEvenSignedAnew) {
  make_soup();
  const fs::path file = soup_ / "removals/2-c.json";
  Certificate certificate = read_certificate(file);
  certificate.not_covered[1].text = "All is well.";
  sign(certificate, signer(1));
  write_certificate(file, certificate);
  EXPECT_THAT(bad(), HasSubstr("the ledger's history has its digest"));
  EXPECT_THAT(text_of(verify(file), FindingState::bad), HasSubstr("is not in the history of"));
  change_json(file, [](json& c) { c["removed"]["images"] = 0; });
  EXPECT_THAT(bad(), HasSubstr("removed is not what before.ledger says of c"));
  EXPECT_THAT(text_of(verify(file), FindingState::bad), HasSubstr("removed is not what before.ledger says of c"));
}

TEST_F(VerifySoupTest, ACertificateOfAnotherSoupIsFound) {
  make_soup();
  merge({inputs_[1], inputs_[2]}, root_ / "other");
  remove_ingredient(root_ / "other", "c", {}, options_);
  fs::copy_file(root_ / "other/removals/1-c.json", soup_ / "removals/2-c.json", fs::copy_options::overwrite_existing);
  EXPECT_THAT(bad(), HasSubstr("the ledger's history has its digest"));
  // The ledger made to fit: the histories still disagree.
  const Digest forged = certificate_digest(read_certificate(soup_ / "removals/2-c.json"));
  change_json(soup_ / "ledger.json", [&](json& l) { l["history"][2]["certificate"] = forged.hex(); });
  EXPECT_THAT(bad(), HasSubstr("ingredient a is missing from the certificate"));
  fs::copy_file(root_ / "other/removals/1-c.json", soup_ / "removals/9-z.json");
  EXPECT_THAT(bad(), HasSubstr("belongs to no removal"));
  fs::copy_file(root_ / "other/removals/1-c.json", root_ / "alone.json");
  EXPECT_THAT(text_of(verify(root_ / "alone.json"), FindingState::not_checked), HasSubstr("no ledger.json beside it"));
}

TEST_F(VerifySoupTest, WhatWasRemovedIsNotBackUnderAnotherName) {
  merge({inputs_[0], inputs_[1]}, soup_);
  remove_ingredient(soup_, "b", {}, options_);
  const json history = read_json(soup_ / "ledger.json").at("history");
  const fs::path certificate = root_ / "kept.json";
  fs::copy_file(soup_ / "removals/1-b.json", certificate);
  // The old soup again, with a new name for b and the history of the one without it.
  fs::remove_all(soup_);
  MergeInput renamed = inputs_[1];
  renamed.name = "z";
  merge({inputs_[0], renamed}, soup_);
  fs::create_directories(soup_ / removals_folder);
  fs::copy_file(certificate, soup_ / "removals/1-b.json");
  change_json(soup_ / "ledger.json", [&](json& l) { l["history"] = history; });
  EXPECT_THAT(bad(), HasSubstr("gives total weight 1, but what comes after needs 3"));
  EXPECT_NE(text_of(verify(soup_ / "removals/1-b.json"), FindingState::bad), "");

  // And with a history that adds up: z was added, but is no other than b.
  change_json(soup_ / "ledger.json", [&](json& l) {
    l["history"].push_back(
        {{"action", "added"}, {"ingredient", "y"}, {"total_weight", 3}, {"time", ""}, {"certificate", nullptr}});
  });
  EXPECT_THAT(bad(), HasSubstr("adds what was not in the soup afterwards"));
  change_json(soup_ / "ledger.json", [&](json& l) { l["history"][2]["ingredient"] = "z"; });
  EXPECT_EQ(bad(), "") << "it is said openly";
  EXPECT_THAT(text_of(verify(soup_), FindingState::good), HasSubstr("z was added later"));
}

TEST_F(VerifySoupTest, HistoriesThatDoNotLeadToTheLedger) {
  make_soup();
  const std::string good = test::bytes_of(soup_ / "ledger.json");
  const std::vector<std::pair<std::function<void(json&)>, std::string>> changes{
      {[](json& h) { h[3]["total_weight"] = 5; }, "gives total weight 5, but what comes after needs 4"},
      {[](json& h) { h[2]["total_weight"] = 1; }, "adds weight 3, but the ingredient has 2"},
      {[](json& h) { h.erase(0); }, "in the wrong place"},
      {[](json& h) { h.erase(2); }, ""},
      {[](json& h) { h[1]["total_weight"] = 5; }, "changes the total weight from 5 to 5"},
      {[](json& h) { h[2]["ingredient"] = "a"; }, "removes what was in the soup afterwards"},
      {[](json& h) {
         h.push_back(h[0]);
         h[4]["total_weight"] = 4;
       },
       "in the wrong place"},
  };
  for (const auto& [change, message] : changes) {
    write_file_atomically(soup_ / "ledger.json", good);
    change_json(soup_ / "ledger.json", [&](json& l) { change(l["history"]); });
    const std::string found = bad();
    EXPECT_THAT(found, HasSubstr(message));
    EXPECT_NE(found, "") << message;
  }
}

TEST_F(VerifySoupTest, SumsAndWeights) {
  for (const AccumulatorKind kind : {AccumulatorKind::compact, AccumulatorKind::wide}) {
    MergeOptions options;
    options.accumulator = kind;
    const fs::path soup = root_ / std::string(name_of(kind));
    merge({inputs_[0], inputs_[1]}, soup, options);
    EXPECT_EQ(text_of(verify(soup), FindingState::bad), "");
    const fs::path file = soup / "accumulator" / test::ema_file;
    std::string bytes = test::bytes_of(file);
    bytes.back() = static_cast<char>(bytes.back() ^ 0x40);
    write_file_atomically(file, bytes);
    const std::vector<Finding> findings = verify(soup);
    EXPECT_EQ(count(findings, FindingState::bad), 1U);
    EXPECT_THAT(text_of(findings, FindingState::bad), HasSubstr("do not give the soup's weights"));
  }
  MergeOptions none;
  none.accumulator = AccumulatorKind::none;
  merge({inputs_[0], inputs_[1]}, root_ / "none", none);
  EXPECT_THAT(text_of(verify(root_ / "none"), FindingState::not_checked), HasSubstr("keeps no sums"));
}

// An ingredient trained on a shard file of a run: all of its images, or those not held out or dropped.
class VerifyChainTest : public VerifySoupTest {
 protected:
  VerifyChainTest() { test_shard(1); }
  void test_shard(std::uint64_t seed) {
    fs::create_directories(file_.parent_path());
    test::write_noise_shard(file_, 40, seed);
  }
  void make_record(const Digest& data_root) {
    IngredientRecord record = read_ingredient_record(inputs_[0].path);
    record.shards = {"data/one/shard.h5"};
    record.data_root_digest = data_root;
    write_ingredient_record(inputs_[0].path, record);
    fs::remove_all(soup_);
    merge({inputs_[0]}, soup_);
  }
  fs::path file_ = root_ / "data/one/shard.h5";
};

TEST_F(VerifyChainTest, AllImagesOfAFile) {
  make_record(ShardFile(file_).root());
  std::vector<Finding> findings = verify(soup_);
  EXPECT_THAT(text_of(findings, FindingState::good), HasSubstr("from the image digests of data/one/shard.h5"));
  EXPECT_EQ(count(findings, FindingState::good), findings.size()) << text_of(findings, FindingState::not_checked);

  test_shard(2);
  EXPECT_THAT(text_of(verify(soup_), FindingState::not_checked), HasSubstr("has no experiment.yaml"));
  std::string bytes = test::bytes_of(file_);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file_atomically(file_, bytes);
  EXPECT_NE(bad(), "");
}

TEST_F(VerifyChainTest, TheTrainedImagesOfARun) {
  const Experiment experiment = test::load(root_, test::small_yaml);
  write_file_atomically(root_ / "experiment.yaml", to_yaml(experiment));
  fs::create_directories(root_ / "duplicates");
  write_exclusions(exclusion_file(root_, "one"), "one", {3, 5});
  const TrainingSet trained = training_set(ShardFile(file_), held_out_of(experiment), {3, 5});
  ASSERT_LT(trained.images.size(), 39U);
  make_record(trained.digest);
  std::vector<Finding> findings = verify(soup_);
  EXPECT_EQ(count(findings, FindingState::good), findings.size()) << text_of(findings, FindingState::bad);

  write_exclusions(exclusion_file(root_, "one"), "one", {3});
  EXPECT_THAT(bad(), HasSubstr("data root"));
  write_exclusions(exclusion_file(root_, "one"), "one", {99});
  EXPECT_THAT(bad(), HasSubstr("lists image 99"));
  write_exclusions(exclusion_file(root_, "one"), "one", {3, 5});
  test_shard(2);
  EXPECT_THAT(bad(), HasSubstr("data root"));
}

TEST_F(VerifyChainTest, ARecordThatIsNotTheLedgers) {
  make_record(ShardFile(file_).root());
  IngredientRecord record = read_ingredient_record(inputs_[0].path);
  record.data_root_digest = sha256("other images");
  write_ingredient_record(inputs_[0].path, record);
  EXPECT_THAT(bad(), HasSubstr("data root: the ledger says"));
  record.data_root_digest = ShardFile(file_).root();
  record.images += 1;
  write_ingredient_record(inputs_[0].path, record);
  EXPECT_THAT(bad(), HasSubstr("the ledger says 640 images, but this record 641"));
}

}  // namespace
}  // namespace soup
