// The light executable as a user meets it: help, version, exit codes, messages.
#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "core/atomic_file.hpp"
#include "data/shard_file.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using test::Outcome;
using testing::AllOf;
using testing::HasSubstr;

Outcome soup(const std::string& arguments) {
  return test::run_command(std::string(SOUP_BINARY_DIR) + "/soup " + arguments);
}

TEST(Cli, HelpNamesEveryVerbAndTheExitCodes) {
  const auto begin = std::chrono::steady_clock::now();
  const Outcome help = soup("--help");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(help.code, 0);
  for (const char* verb : {"run", "plan", "import", "train", "merge", "add", "remove", "diff", "search", "sample",
                           "convert", "encode", "evaluate", "score", "report", "verify"}) {
    EXPECT_THAT(help.text, HasSubstr("\n  " + std::string(verb) + " ")) << verb;
  }
  EXPECT_THAT(help.text, HasSubstr("Exit codes: 0 success, 2"));
  // Milliseconds; the bound is for a machine that is busy with other tests, and well below LibTorch's start.
  EXPECT_LT(took.count(), 2.0);
}

TEST(Cli, EveryVerbHasHelpWithPurposeExampleAndExitCodes) {
  for (const char* verb : {"plan",          "import",
                           "import folder", "import icon-theme",
                           "import idx",    "import webdataset",
                           "convert",       "encode",
                           "merge",         "add",
                           "remove",        "diff",
                           "search",        "report",
                           "verify",        "run",
                           "train",         "sample",
                           "evaluate",      "score"}) {
    const Outcome help = soup(std::string(verb) + " --help");
    EXPECT_EQ(help.code, 0) << verb;
    EXPECT_THAT(help.text, AllOf(HasSubstr("Examples:\n  soup "), HasSubstr("Exit codes:"))) << verb;
  }
}

TEST(Cli, SaysItsVersion) {
  const Outcome version = soup("--version");
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.text, testing::StartsWith("soup 0."));
}

TEST(Cli, UsageErrorsExitWithTwo) {
  for (const char* arguments :
       {"", "boil", "plan", "plan a b c", "plan x.yaml --ranks 0", "plan x.yaml --ranks two", "plan x.yaml --unknown",
        "merge", "merge a --method stew --output b", "merge a --recipe b.yaml --output c",
        "merge --recipe b.yaml --lambda 1 --output c", "merge a b --sweep 0 --output c",
        "merge a b --sweep two --output c", "search", "search a b --output c", "search a b --score 'x {model}'",
        "import", "import icon-theme", "verify"}) {
    EXPECT_EQ(soup(arguments).code, 2) << arguments;
  }
}

TEST(Cli, ErrorsHaveMessageHintAndCode) {
  const Outcome missing = soup("plan none.yaml");
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.text, AllOf(HasSubstr("soup: error: none.yaml: no such file"), HasSubstr("\n  hint: ")));
  EXPECT_EQ(soup("verify none").code, 3);
  EXPECT_EQ(soup("report none").code, 3);
  EXPECT_EQ(soup("remove none a").code, 3);
  EXPECT_EQ(soup("merge none-a none-b --output out-of-nothing").code, 3);
  EXPECT_EQ(soup("merge a b --weight c=2 --output x").code, 2);
  EXPECT_EQ(soup("merge a b --weight a=half --output x").code, 2);
}

TEST(Cli, PlanExitsWithTheFirstProblem) {
  test::TemporaryFolder folder;
  const std::string file = (folder.path() / "x.yaml").string();
  write_file_atomically(file, test::small_yaml);
  const std::string run = " --set run_folder=" + (folder.path() / "run").string();
  const Outcome plan = soup("plan " + file + run);
  EXPECT_EQ(plan.code, 3) << "no theme of these packages exists";
  EXPECT_THAT(plan.text, AllOf(HasSubstr("ingredient/one"), HasSubstr("3 problems"), HasSubstr("two-icon-theme"),
                               HasSubstr("\nGPUs: ")));
  EXPECT_EQ(soup("plan " + file + run + " --ranks 3 --set launch.ranks_per_group=2").code, 2);
  EXPECT_EQ(soup("plan " + file + run + " --set seed=x").code, 2);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "run"));

  const Outcome resolved = soup("plan " + file + " --resolved --set seed=11");
  EXPECT_EQ(resolved.code, 0);
  EXPECT_THAT(resolved.text, AllOf(testing::StartsWith("schema: 1\nname: small\nseed: 11\n")));
}

TEST(Cli, ImportsIdxFiles) {
  test::TemporaryFolder folder;
  // Two images of 4 x 4 and their labels, as IDX lays them out.
  const std::string header("\0\0\x08\x03\0\0\0\x02\0\0\0\x04\0\0\0\x04", 16);
  std::string pixels;
  for (int i = 0; i < 32; ++i) {
    pixels += static_cast<char>(i * (i < 16 ? 7 : 3));
  }
  write_file_atomically(folder.path() / "images", header + pixels);
  write_file_atomically(folder.path() / "labels", std::string("\0\0\x08\x01\0\0\0\x02\x01\0", 10));
  const std::string at = folder.path().string();
  const Outcome outcome = soup("import idx --images " + at + "/images --labels " + at +
                               "/labels --class-name coat boot --resolution 4 --output " + at + "/clothes.h5");
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("2 images of 4 x 4"));
  const ShardFile shard(folder.path() / "clothes.h5");
  EXPECT_EQ(shard.size(), 2U);
  EXPECT_EQ(shard.origin().name, "clothes");
  const Outcome good = soup("verify " + at + "/clothes.h5");
  EXPECT_EQ(good.code, 0);
  EXPECT_THAT(good.text, HasSubstr("1 of 1 agree"));
}

}  // namespace
}  // namespace soup
