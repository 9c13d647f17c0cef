// `soup merge --sweep` as a user meets it: its line, its flags, what it refuses.
#include <gmock/gmock.h>

#include <filesystem>
#include <string>

#include "core/atomic_file.hpp"
#include "experiments/sweep_record.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using test::Outcome;
using testing::AllOf;
using testing::HasSubstr;

class SweepVerbTest : public testing::Test {
 protected:
  SweepVerbTest() {
    for (const char* name : {"a", "b", "c"}) {
      test::make_ingredient(folder_.path(), name);
    }
  }
  // In the folder of the models.
  Outcome soup(const std::string& arguments) {
    return test::run_command("cd " + folder_.path().string() + " && " + SOUP_BINARY_DIR + "/soup " + arguments);
  }
  // What is refused leaves nothing.
  void expect_refused(const std::string& arguments, int code, const testing::Matcher<const std::string&>& message) {
    const std::size_t before = folder_.entries();
    const Outcome outcome = soup(arguments);
    EXPECT_EQ(outcome.code, code) << arguments << "\n" << outcome.text;
    EXPECT_THAT(outcome.text, message) << arguments;
    EXPECT_EQ(folder_.entries(), before) << arguments;
  }

  test::TemporaryFolder folder_;
};

TEST_F(SweepVerbTest, SaysWhatItMadeInOneLine) {
  const Outcome outcome = soup("merge a b c --sweep 4 --output mixed --threads 1");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("mixed: sweep of 15 soups of 3 ingredients, mixed/sweep.json\n"));
  EXPECT_EQ(read_sweep(folder_ / "mixed").points.size(), 15u);
  const Outcome verified = soup("verify mixed/2-1-1");
  EXPECT_EQ(verified.code, 0) << verified.text;
  const Outcome removed = soup("remove mixed/2-1-1 b --output without");
  EXPECT_EQ(removed.code, 0) << removed.text;
  expect_refused("merge a b --sweep 2 --output mixed", 2, HasSubstr("exists already"));
  EXPECT_EQ(soup("merge a b --sweep 2 --output mixed --overwrite").code, 0);
  EXPECT_EQ(read_sweep(folder_ / "mixed").points.size(), 3u);
}

TEST_F(SweepVerbTest, TakesARecipe) {
  write_file_atomically(folder_ / "mix.yaml",
                        "schema: 1\ninputs: [{path: a}, {name: second, path: b}]\noutput: {accumulator: none}\n");
  const Outcome outcome = soup("merge --recipe mix.yaml --sweep 10 --output mixed");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_EQ(read_sweep(folder_ / "mixed").points[3].folder, "07-03");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "mixed/07-03/accumulator"));
  write_file_atomically(folder_ / "mix.yaml", "schema: 1\ninputs: [{path: a, weight: 2}, {path: b}]\n");
  expect_refused("merge --recipe mix.yaml --sweep 2 --output other", 2, HasSubstr("input a has weight 2"));
}

TEST_F(SweepVerbTest, RefusesFlagsThatDoNotGoTogether) {
  expect_refused("merge a b --sweep 2 --weight a=1 --output x", 2, HasSubstr("--sweep and --weight are both given"));
  expect_refused("merge a b --render x.png --prompt y --output x", 2, HasSubstr("--render is given without --sweep"));
  expect_refused("merge a b --sweep 2 --render x.png --output x", 2, HasSubstr("--render is given without --prompt"));
  expect_refused("merge a b --sweep 2 --prompt y --output x", 2, HasSubstr("--prompt is given without --render"));
  expect_refused("merge a b --sweep 2 --no-digests --output x", 2, HasSubstr("--no-digests"));
  expect_refused("merge a b --sweep 2 --output x.safetensors", 2, HasSubstr("one file"));
  expect_refused("merge a b --sweep 1000 --output x", 2, HasSubstr("1001 soups"));
  expect_refused("merge a b --sweep 1001 --output x", 2, HasSubstr("--sweep"));
  expect_refused("merge a --sweep 2 --output x", 2, HasSubstr("there is 1"));
  expect_refused("merge a b --method model_stock --base c --sweep 2 --output x", 2, HasSubstr("model_stock has none"));
}

TEST_F(SweepVerbTest, RenderingIsLookedAtBeforeAnythingIsMade) {
  const std::string render = " --sweep 2 --output x --prompt y --render ";
  expect_refused("merge a b" + render + "none/x.png", 3, AllOf(HasSubstr("none/x.png"), HasSubstr("does not exist")));
  expect_refused("merge a b" + render + "a", 3, HasSubstr("is a folder"));
  expect_refused("merge a/unet b/unet" + render + "x.png", 3,
                 AllOf(HasSubstr("a/unet"), HasSubstr("has no model_index.json")));
  expect_refused("merge a/" + test::unet_file.string() + " b/" + test::unet_file.string() + render + "x.png", 3,
                 HasSubstr("is no folder"));
}

TEST_F(SweepVerbTest, SampleTakesOneSource) {
  EXPECT_EQ(soup("sample --prompt y").code, 2);
  EXPECT_EQ(soup("sample --prompt y --model a --sweep a").code, 2);
  const Outcome none = soup("sample --prompt y --sweep a");
  EXPECT_EQ(none.code, 3);
  EXPECT_THAT(none.text, HasSubstr("sweep.json"));
}

}  // namespace
}  // namespace soup
