// `soup merge` of folders and files: values against the oracle, what is copied, what is refused, provenance.
#include "merge/merge_files.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <limits>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "merge/float_formats.hpp"
#include "merge/ingredient_record.hpp"
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

class MergeTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();

  // The message of the error that merging these gives, and that nothing was left behind.
  std::string refusal(const std::vector<MergeInput>& inputs, const MergeOptions& options = {}) {
    return test::merge_refusal(root_, inputs, options);
  }
};

TEST_F(MergeTest, FoldersGiveTheExactSoupOfTrainedPartsAndCopyTheRest) {
  const std::vector<MergeInput> inputs{test::make_ingredient(root_, "tango", 2), test::make_ingredient(root_, "oxygen"),
                                       test::make_ingredient(root_, "papirus", 5)};
  MergeOptions wide;
  wide.accumulator = AccumulatorKind::wide;
  const Ledger ledger = merge(inputs, root_ / "soup", wide);

  for (const auto& [file, suffix] : {std::pair{test::unet_file, ""}, std::pair{test::ema_file, " ema"}}) {
    for (const auto& [tensor, name, count] :
         {std::tuple{"conv.weight", "conv", 120u}, std::tuple{"conv.bias", "bias", 7u}}) {
      std::vector<std::vector<float>> weights;
      std::vector<test::OracleTerm> terms;
      for (const MergeInput& input : inputs) {
        weights.push_back(test::weights_named(input.name + suffix + " " + name, count));
      }
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        terms.push_back({weights[i], inputs[i].weight});
      }
      EXPECT_EQ(test::floats_of(root_ / "soup" / file, tensor), test::oracle_soup(terms, 44)) << tensor;
      EXPECT_EQ(test::integers_of(root_ / "soup/accumulator" / file, tensor), test::oracle_sums(terms, 44)) << tensor;
    }
    EXPECT_THAT(test::integers_of(root_ / "soup" / file, "steps"), testing::ElementsAre(1, 1000));
  }
  for (const fs::path& file : {fs::path(test::text_file), fs::path("tokenizer/merges.txt"),
                               fs::path("model_index.json"), fs::path("unet/config.json")}) {
    EXPECT_EQ(test::bytes_of(root_ / "soup" / file), test::bytes_of(inputs.front().path / file)) << file;
  }
  EXPECT_FALSE(fs::exists(root_ / "soup/checkpoint"));
  EXPECT_FALSE(fs::exists(root_ / "soup/DONE"));
  EXPECT_FALSE(fs::exists(root_ / "soup/ingredient.json"));

  const Ledger read = read_ledger(root_ / "soup");
  EXPECT_EQ(to_json(read), to_json(ledger));
  EXPECT_EQ(read.total_weight, 8);
  EXPECT_EQ(read.method(), "weighted");
  ASSERT_EQ(read.ingredients.size(), 3u);
  EXPECT_EQ(read.ingredients[0].name, "oxygen");
  EXPECT_EQ(read.ingredients[2].path, "../tango");
  EXPECT_EQ(read.ingredients[2].data_root_digest, sha256("data of tango"));
  EXPECT_EQ(read.parts.at("unet"), weights_digest(Weights::open(root_ / "soup" / test::unet_file)));
  ASSERT_EQ(read.history.size(), 1u);
  EXPECT_EQ(read.history[0].action, "made");
  EXPECT_EQ(SafetensorsFile(root_ / "soup" / test::unet_file).metadata().at("soup.digest"), read.soup_digest().hex());
}

TEST_F(MergeTest, OrderAndThreadsDoNotMatter) {
  std::vector<MergeInput> inputs{test::make_ingredient(root_, "a"), test::make_ingredient(root_, "b", 3),
                                 test::make_ingredient(root_, "c"), test::make_ingredient(root_, "d", 2)};
  const Ledger first = merge(inputs, root_ / "soup");
  std::ranges::reverse(inputs);
  MergeOptions options;
  options.work.threads = 3;
  const Ledger second = merge(inputs, root_ / "again", options);
  EXPECT_EQ(content_digest(first), content_digest(second));
  EXPECT_EQ(test::bytes_of(root_ / "soup" / test::unet_file), test::bytes_of(root_ / "again" / test::unet_file));
}

TEST_F(MergeTest, PlainFilesCarryTheirLedgerAndEqualTheFolderMerge) {
  const std::vector<MergeInput> folders{test::make_ingredient(root_, "a"), test::make_ingredient(root_, "b")};
  std::vector<MergeInput> files = folders;
  for (MergeInput& file : files) {
    file.path /= test::unet_file;
  }
  const Ledger ledger = merge(files, root_ / "soup.safetensors");
  const Ledger of_folders = merge(folders, root_ / "soup");
  EXPECT_EQ(ledger.parts.at("model"), of_folders.parts.at("unet"));
  const SafetensorsFile soup(root_ / "soup.safetensors");
  const Ledger carried = ledger_from_json(parse_json(soup.metadata().at("soup.ledger"), "metadata"), "metadata");
  EXPECT_EQ(content_digest(carried), content_digest(ledger));
  EXPECT_TRUE(carried.history.empty()) << "a time would make equal merges differ";
  const std::string bytes = test::bytes_of(root_ / "soup.safetensors");
  MergeOptions again;
  again.work.overwrite = true;
  merge(files, root_ / "soup.safetensors", again);
  EXPECT_EQ(test::bytes_of(root_ / "soup.safetensors"), bytes);
}

TEST_F(MergeTest, SixteenBitInputsAreReadExactlyAndRoundedOnceWhenKept) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    test::Flaws form;
    form.dtype = dtype;
    const std::string tag(name_of(dtype));
    const std::vector<MergeInput> inputs{test::make_ingredient(root_ / tag, "a", 1, form),
                                         test::make_ingredient(root_ / tag, "b", 2, form)};
    const std::vector<float> a = test::floats_of(inputs[0].path / test::unet_file, "conv.weight");
    const std::vector<float> b = test::floats_of(inputs[1].path / test::unet_file, "conv.weight");
    const std::vector<test::OracleTerm> terms{{a, 1}, {b, 2}};
    merge(inputs, root_ / tag / "soup");
    EXPECT_EQ(test::floats_of(root_ / tag / "soup" / test::unet_file, "conv.weight"), test::oracle_soup(terms, 44));
    MergeOptions keep;
    keep.dtype.reset();
    EXPECT_EQ(merge(inputs, root_ / tag / "kept", keep).dtype, "input");
    const SafetensorsFile kept(root_ / tag / "kept" / test::unet_file);
    EXPECT_EQ(kept.find("conv.weight")->dtype, dtype);
    std::vector<double> exact;
    for (const std::int64_t sum : test::oracle_sums(terms, 44)) {
      exact.push_back(static_cast<double>(sum) / 3.0 * 0x1p-44);
    }
    std::vector<std::byte> rounded(exact.size() * 2);
    encode(exact, dtype, rounded);
    EXPECT_TRUE(std::ranges::equal(kept.bytes(*kept.find("conv.weight")), rounded));
  }
}

TEST_F(MergeTest, DoublesAreMergedFromDoubles) {
  const auto write = [&](const std::string& name, double value) {
    const std::vector<TensorSource> tensors{{"w", DType::f64, {1}, std::as_bytes(std::span(&value, 1))}};
    const fs::path file = root_ / (name + ".safetensors");
    write_safetensors(file, tensors, {});
    return MergeInput{name, file, 1};
  };
  MergeOptions keep;
  keep.dtype.reset();
  merge({write("a", 1.0 + 0x1p-44), write("b", 1.0 + 0x1p-43)}, root_ / "soup.safetensors", keep);
  const SafetensorsFile soup(root_ / "soup.safetensors");
  double mean = 0.0;
  std::memcpy(&mean, soup.bytes(*soup.find("w")).data(), sizeof(mean));
  EXPECT_EQ(mean, 1.0 + 0x1.8p-44);
}

TEST_F(MergeTest, RefusesWhatHasNoCommonOrigin) {
  const MergeInput good = test::make_ingredient(root_, "good");
  const auto against = [&](const std::string& name, const test::Flaws& flaws) {
    return refusal({good, test::make_ingredient(root_, name, 1, flaws)});
  };
  EXPECT_THAT(against("base", {.base = "other"}),
              AllOf(HasSubstr(sha256("other").hex()), HasSubstr(sha256("base").hex())));
  EXPECT_THAT(against("unrecorded", {.with_record = false}), HasSubstr("its base is not recorded"));
  EXPECT_THAT(against("steps", {.steps = 7}),
              AllOf(HasSubstr("tensor steps (I64) differs between good and steps"), HasSubstr("element 1")));
  EXPECT_THAT(against("shape", {.width = 41}), AllOf(HasSubstr("[40, 3] in good"), HasSubstr("[41, 3] in shape")));
  EXPECT_THAT(against("dtype", {.dtype = DType::f16}), AllOf(HasSubstr("F32 in good"), HasSubstr("F16 in dtype")));
  EXPECT_THAT(against("text", {.text = "tuned"}), HasSubstr("frozen part text_encoder"));
  EXPECT_THAT(against("config", {.config = "{\"act_fn\": \"relu\"}\n"}),
              AllOf(HasSubstr("config.json: differs between good and config"), HasSubstr("/act_fn")));
  const MergeInput extra = test::make_ingredient(root_, "extra");
  write_file_atomically(extra.path / "tokenizer/added.json", "{}");
  EXPECT_THAT(refusal({good, extra}), HasSubstr("added.json is in extra but not in good"));
}

TEST_F(MergeTest, RefusesWeightsThatAreNotNumbersOrTooLarge) {
  const MergeInput good = test::make_ingredient(root_, "good");
  EXPECT_THAT(refusal({good, test::make_ingredient(root_, "nan", 1, {.poison = std::nanf("")})}),
              AllOf(HasSubstr("ingredient nan, tensor conv.weight"), HasSubstr("element 17 is nan")));
  EXPECT_THAT(
      refusal({good, test::make_ingredient(root_, "inf", 1, {.poison = std::numeric_limits<float>::infinity()})}),
      HasSubstr("element 17 is inf"));
  EXPECT_THAT(refusal({good, test::make_ingredient(root_, "large", 1, {.poison = 0x1p17F})}),
              AllOf(HasSubstr("total weight 2"), HasSubstr("2^62")));
}

TEST_F(MergeTest, RefusesChangedWeightsAndWrongLists) {
  const MergeInput good = test::make_ingredient(root_, "good");
  MergeInput other = test::make_ingredient(root_, "other");
  EXPECT_THAT(refusal({}), HasSubstr("at least one ingredient"));
  EXPECT_THAT(refusal({good, good}), HasSubstr("two ingredients are named \"good\""));
  EXPECT_THAT(refusal({good, {"other", other.path, 0}}), HasSubstr("weight 0"));
  EXPECT_THAT(refusal({good, {"absent", root_ / "absent", 1}}), HasSubstr("does not exist"));
  EXPECT_THAT(refusal({good, {"other", other.path / test::unet_file, 1}}), HasSubstr("not both"));
  MergeOptions options;
  options.parts = {{"unet", "vae"}};
  EXPECT_THAT(refusal({good, other}, options), HasSubstr("no part vae"));
  options = {};
  options.scale_bits = 60;
  EXPECT_THAT(refusal({good, other}, options), HasSubstr("scale_bits is 60"));
  fs::copy_file(good.path / test::unet_file, other.path / test::unet_file, fs::copy_options::overwrite_existing);
  EXPECT_THAT(refusal({good, other}), AllOf(HasSubstr("ingredient.json says"), HasSubstr("changed after training")));
  EXPECT_THROW(merge({good}, good.path), ConfigError);
  fs::remove(good.path / "model_index.json");
  EXPECT_THAT(refusal({good}), HasSubstr("model_index.json"));
}

TEST_F(MergeTest, ModelsFromElsewhereAverageAllButAutoencoders) {
  const test::Flaws plain{.with_record = false};
  test::Flaws tuned = plain;
  tuned.text = "tuned";
  const MergeInput a = test::make_ingredient(root_, "a", 1, plain);
  const MergeInput b = test::make_ingredient(root_, "b", 1, plain);
  const MergeInput c = test::make_ingredient(root_, "c", 1, tuned);
  const auto parts = [](const Ledger& ledger) {
    std::vector<std::string> names;
    for (const auto& [name, digest] : ledger.parts) {
      names.push_back(name);
    }
    return names;
  };
  EXPECT_THAT(parts(merge({a, b}, root_ / "ab")), testing::ElementsAre("unet", "unet_ema"));
  EXPECT_THAT(parts(merge({a, c}, root_ / "ac")), testing::ElementsAre("text_encoder", "unet", "unet_ema"));
  EXPECT_FALSE(read_ledger(root_ / "ab").base_digest.has_value());
}

TEST_F(MergeTest, NeverOpensPickles) {
  const MergeInput pickled = test::make_ingredient(root_, "pickled");
  fs::rename(pickled.path / test::text_file, pickled.path / "text_encoder/pytorch_model.bin");
  EXPECT_THAT(refusal({pickled}), HasSubstr("pickle"));
}

TEST(WeightsDigest, IgnoresOrderShardingAndMetadataButNothingElse) {
  const test::TemporaryFolder folder;
  const std::vector<float> a{1.0F, 2.0F};
  const std::vector<float> b{3.0F};
  const auto source = [](const std::string& name, const std::vector<float>& values) {
    return TensorSource{name, DType::f32, {static_cast<std::int64_t>(values.size())}, std::as_bytes(std::span(values))};
  };
  const auto written = [&](const std::string& name, const std::vector<TensorSource>& tensors) {
    const fs::path file = folder.path() / (name + ".safetensors");
    write_safetensors(file, tensors, {{"name", name}});
    return file;
  };
  const auto digest_of = [](const fs::path& file) { return weights_digest(Weights::open(file)); };
  const Digest digest = digest_of(written("ab", {source("a", a), source("b", b)}));
  EXPECT_EQ(digest_of(written("ba", {source("b", b), source("a", a)})), digest);
  const std::vector<fs::path> parts{written("b", {source("b", b)}), written("a", {source("a", a)})};
  EXPECT_EQ(weights_digest(Weights::open(folder.path(), parts)), digest);
  EXPECT_NE(digest_of(written("renamed", {source("a", a), source("c", b)})), digest);
  EXPECT_NE(digest_of(written("changed", {source("a", {1.0F, -2.0F}), source("b", b)})), digest);
  EXPECT_NE(digest_of(written("reshaped",
                              {TensorSource{"a", DType::f32, {2, 1}, std::as_bytes(std::span(a))}, source("b", b)})),
            digest);
  EXPECT_THROW(Weights::open(folder.path(), {parts[0], parts[1], parts[0]}), DataError);
}

}  // namespace
}  // namespace soup
