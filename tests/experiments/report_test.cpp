// The report is one self-contained file that says what the run folder says.
#include "experiments/report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/report_data.hpp"
#include "tests/experiments/synthetic_run.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::HasSubstr;
using testing::Not;

class Report : public testing::Test {
 protected:
  void SetUp() override { experiment = test::write_synthetic_run(folder.path()); }
  std::string html() {
    write_report(experiment, folder.path() / "report" / "index.html");
    return read_file(folder.path() / "report" / "index.html");
  }
  test::TemporaryFolder folder;
  Experiment experiment;
};

std::size_t count(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  return static_cast<std::size_t>(
      std::distance(std::sregex_iterator(text.begin(), text.end(), expression), std::sregex_iterator()));
}

TEST_F(Report, NeedsNoNetworkAndNoScript) {
  const std::string page = html();
  EXPECT_EQ(count(page, "(src|href)=[\"'](?!data:|#)"), 0U);
  EXPECT_EQ(count(page, "url\\((?!data:|#)"), 0U);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("@import")));
}

TEST_F(Report, OpensWithTheVerdict) {
  const std::string page = html();
  EXPECT_THAT(page, HasSubstr("A mixed result: the soup beat the paragon on alignment, but lost on held-out loss."));
  EXPECT_THAT(page, HasSubstr("One run with one random seed (1)"));
}

TEST_F(Report, EscapesNames) {
  const std::string page = html();
  EXPECT_THAT(page, HasSubstr("icons &lt;three&gt; &amp; styles"));
  EXPECT_THAT(page, Not(HasSubstr("<three>")));
}

TEST_F(Report, ShowsEveryModelOnceInEveryTable) {
  const std::string page = html();
  // Scores and held-out losses with raw and EMA weights, and drift: five tables with a soup row.
  EXPECT_EQ(count(page, "<tr class=\"soup\"><th scope=\"row\">Soup</th>"), 5U);
  EXPECT_EQ(count(page, "<tr class=\"real\">"), 2U);
  // A picture a row. EMA: real, base, 3 ingredients, soup, 2 paragons, ensemble, 3 leave-one-out soups; raw: all but
  // the last three.
  EXPECT_EQ(count(page, "--row: url\\(data:image/png"), 12U + 9U);
  EXPECT_EQ(count(page, "class=\"cell\""), 21U * 8U);
  EXPECT_EQ(count(page, "<svg"), 2U);
  EXPECT_THAT(page, HasSubstr("Soup minus …</th>"));
  EXPECT_THAT(page, HasSubstr("CC0-1.0"));
  EXPECT_THAT(page, HasSubstr("3 exact and 5 near pairs"));
}

TEST_F(Report, TablesAreWellFormed) {
  const std::string page = html();
  for (const std::string tag : {"table", "section", "details", "tr", "td", "th", "ul", "dl", "svg", "div", "p"}) {
    EXPECT_EQ(count(page, "<" + tag + "[ >\\n]"), count(page, "</" + tag + ">")) << tag;
  }
}

TEST_F(Report, IsAFunctionOfTheRunFolder) {
  EXPECT_EQ(html(), html());
}

TEST_F(Report, LeavesOutWhatIsMissing) {
  std::filesystem::remove_all(folder.path() / "evaluation");
  std::filesystem::remove(folder.path() / "soup" / "ledger.json");
  const std::string page = html();
  EXPECT_THAT(page, Not(HasSubstr("class=\"verdict\"")));
  EXPECT_THAT(page, Not(HasSubstr("Ledger of the soup")));
  EXPECT_THAT(page, HasSubstr("Loss curves"));
  EXPECT_THAT(page, HasSubstr("What was trained on what"));
}

TEST_F(Report, RefusesBrokenFiles) {
  write_file_atomically(folder.path() / "base" / "loss.jsonl", "{\"images\": 1}\n");
  EXPECT_THROW(static_cast<void>(read_run(experiment)), DataError);
  std::filesystem::remove(folder.path() / "base" / "loss.jsonl");
  write_file_atomically(folder.path() / "evaluation" / "soup.raw.jsonl", "{\"type\"");
  EXPECT_THROW(static_cast<void>(read_run(experiment)), DataError);
}

TEST(DisplayName, SpellsModelsOut) {
  EXPECT_EQ(display_name("base"), "Base");
  EXPECT_EQ(display_name("soup"), "Soup");
  EXPECT_EQ(display_name("ingredient/oxygen-2"), "Ingredient oxygen-2");
  EXPECT_EQ(display_name("soup/without-oxygen-2"), "Soup without oxygen-2");
  EXPECT_EQ(display_name("paragon/equal-total"), "Paragon, equal total");
  EXPECT_EQ(display_name("real"), "Real icons");
}

}  // namespace
}  // namespace soup
