// `soup add` and `soup remove`: any history gives the bits of the soup made from scratch; what is refused.
#include "merge/edit.hpp"

#include <gmock/gmock.h>

#include <algorithm>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "merge/weights_digest.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class EditTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();

  template <typename Edit>
  static std::string refusal(Edit edit) {
    try {
      edit();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  // All files of two soups equal, but for the histories in their ledgers.
  void expect_equal_soups(const fs::path& edited, const fs::path& scratch) {
    for (const fs::path& file :
         {test::unet_file, test::ema_file, "accumulator" / test::unet_file, "accumulator" / test::ema_file}) {
      EXPECT_EQ(test::bytes_of(edited / file), test::bytes_of(scratch / file)) << file;
    }
    EXPECT_EQ(content_digest(read_ledger(edited)), content_digest(read_ledger(scratch)));
  }
};

TEST_F(EditTest, RandomHistoriesEqualTheSoupFromScratch) {
  std::vector<MergeInput> pantry;
  for (int i = 0; i < 6; ++i) {
    pantry.push_back(test::make_ingredient(root_, "shard" + std::to_string(i), 1 + i % 3));
  }
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    RandomStream stream(seed, 1);
    const fs::path soup = root_ / ("soup" + std::to_string(seed));
    std::vector<MergeInput> in{pantry[0], pantry[1], pantry[2]};
    std::vector<MergeInput> out{pantry[3], pantry[4], pantry[5]};
    merge(in, soup);
    for (int step = 0; step < 8; ++step) {
      const auto [moved, add] = test::random_step(stream, in, out);
      const Ledger ledger = add ? add_ingredient(soup, moved) : remove_ingredient(soup, moved.name).ledger;
      EXPECT_EQ(ledger.ingredients.size(), in.size());
      EXPECT_EQ(ledger.history.size(), static_cast<std::size_t>(step + 2));
      EXPECT_EQ(ledger.history.back().action, add ? "added" : "removed");
      EXPECT_EQ(ledger.history.back().ingredient, moved.name);
    }
    const fs::path scratch = root_ / ("scratch" + std::to_string(seed));
    merge(in, scratch);
    expect_equal_soups(soup, scratch);
  }
}

TEST_F(EditTest, ANewFolderLeavesTheOldSoupAlone) {
  const MergeInput a = test::make_ingredient(root_, "a");
  const MergeInput b = test::make_ingredient(root_, "b");
  merge({a, b}, root_ / "soup");
  const std::string before = test::bytes_of(root_ / "soup/ledger.json");
  const Ledger edited = remove_ingredient(root_ / "soup", "b", root_ / "deep/er/without-b").ledger;
  EXPECT_EQ(test::bytes_of(root_ / "soup/ledger.json"), before);
  EXPECT_EQ(edited.ingredients[0].path, "../../../a");
  merge({a}, root_ / "scratch");
  expect_equal_soups(root_ / "deep/er/without-b", root_ / "scratch");
  EXPECT_THAT(refusal([&] { remove_ingredient(root_ / "soup", "a", root_ / "scratch"); }), HasSubstr("exists already"));
}

TEST_F(EditTest, WithoutAccumulatorOrRemovedFolderTheSoupIsMadeAnew) {
  const MergeInput a = test::make_ingredient(root_, "a");
  const MergeInput b = test::make_ingredient(root_, "b", 4);
  const MergeInput c = test::make_ingredient(root_, "c");
  merge({a, b}, root_ / "soup");
  fs::remove_all(root_ / "soup/accumulator");
  EXPECT_EQ(add_ingredient(root_ / "soup", c).history.size(), 2u);
  merge({a, b, c}, root_ / "scratch");
  expect_equal_soups(root_ / "soup", root_ / "scratch");

  fs::remove_all(b.path);  // the owner of b asked for its deletion
  EXPECT_EQ(remove_ingredient(root_ / "soup", "b").ledger.history.back().action, "removed");
  merge({a, c}, root_ / "scratch2");
  expect_equal_soups(root_ / "soup", root_ / "scratch2");

  fs::remove_all(root_ / "soup/accumulator");
  fs::remove_all(c.path);
  EXPECT_THAT(refusal([&] { remove_ingredient(root_ / "soup", "a"); }),
              AllOf(HasSubstr("no usable accumulator"), HasSubstr(c.path.string())));
}

TEST_F(EditTest, RefusesUnknownLastTwiceAndForeign) {
  const MergeInput a = test::make_ingredient(root_, "alpha");
  const MergeInput b = test::make_ingredient(root_, "beta");
  merge({a}, root_ / "soup");
  const std::string before = test::bytes_of(root_ / "soup/ledger.json");
  const auto removing = [&](const std::string& name) {
    return refusal([&] { remove_ingredient(root_ / "soup", name); });
  };
  const auto adding = [&](const MergeInput& input) { return refusal([&] { add_ingredient(root_ / "soup", input); }); };
  EXPECT_THAT(removing("alpha"), HasSubstr("last ingredient"));
  EXPECT_THAT(removing("alpa"), AllOf(HasSubstr("no ingredient alpa"), HasSubstr("did you mean alpha?")));
  EXPECT_THAT(adding(a), HasSubstr("already has an ingredient alpha"));
  EXPECT_THAT(adding({"again", a.path, 1}), HasSubstr("already in the soup, as ingredient alpha"));
  EXPECT_THAT(adding({"beta", b.path, 0}), HasSubstr("weight 0"));
  EXPECT_THAT(adding(test::make_ingredient(root_, "foreign", 1, {.base = "other"})), HasSubstr("its base is"));
  EXPECT_THAT(adding(test::make_ingredient(root_, "steps", 1, {.steps = 7})), HasSubstr("tensor steps (I64) differs"));
  EXPECT_THAT(adding(test::make_ingredient(root_, "wide", 1, {.width = 41})), HasSubstr("[41, 3] in wide"));
  EXPECT_THAT(adding(test::make_ingredient(root_, "text", 1, {.text = "tuned"})),
              HasSubstr("frozen part text_encoder"));
  EXPECT_THAT(adding(test::make_ingredient(root_, "nan", 1, {.poison = std::nanf("")})),
              HasSubstr("element 17 is nan"));
  EXPECT_THAT(adding({"beta", b.path, std::int64_t{1} << 22}), HasSubstr("2^62"));
  EXPECT_EQ(test::bytes_of(root_ / "soup/ledger.json"), before);
}

// The first ingredient alone is in range, but at the new total weight it no longer is: from scratch it would be refused
// too.
TEST_F(EditTest, TheGuardLooksAtAllIngredients) {
  const MergeInput large = test::make_ingredient(root_, "large", 1, {.poison = 0x1p17F});
  const MergeInput small = test::make_ingredient(root_, "small");
  merge({large}, root_ / "soup");
  EXPECT_THAT(refusal([&] { add_ingredient(root_ / "soup", small); }),
              AllOf(HasSubstr("ingredient large"), HasSubstr("2^62")));
}

TEST_F(EditTest, TamperedFilesAreNoticed) {
  const MergeInput a = test::make_ingredient(root_, "a");
  const MergeInput b = test::make_ingredient(root_, "b");
  const MergeInput c = test::make_ingredient(root_, "c");
  merge({a, b}, root_ / "soup");
  merge({a, c}, root_ / "other");
  const auto copy = [](const fs::path& from, const fs::path& to) {
    fs::copy_file(from, to, fs::copy_options::overwrite_existing);
  };
  copy(root_ / "other/accumulator" / test::unet_file, root_ / "soup/accumulator" / test::unet_file);
  EXPECT_THAT(refusal([&] { add_ingredient(root_ / "soup", c); }), HasSubstr("do not give the soup's weights"));
  copy(root_ / "other" / test::unet_file, root_ / "soup" / test::unet_file);
  EXPECT_THAT(refusal([&] { add_ingredient(root_ / "soup", c); }), HasSubstr("but its ledger says"));
  copy(a.path / test::unet_file, c.path / test::unet_file);
  EXPECT_THAT(refusal([&] { remove_ingredient(root_ / "other", "c"); }), HasSubstr("ingredient.json says"));
  fs::remove(c.path / "ingredient.json");
  EXPECT_THAT(refusal([&] { remove_ingredient(root_ / "other", "c"); }), HasSubstr("those that went into the soup"));
}

}  // namespace
}  // namespace soup
