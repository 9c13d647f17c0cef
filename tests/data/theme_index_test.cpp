// index.theme and the choice of one file per icon.
#include "data/theme_index.hpp"

#include <gtest/gtest.h>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

class Theme : public testing::Test {
 protected:
  void index(const std::string& text) { test::write_text(root_ / "index.theme", text); }
  void section(const std::string& folder, int size, const std::string& context, const std::string& more = "") {
    sections_ += "[" + folder + "]\nSize=" + std::to_string(size) + "\nContext=" + context + "\n" + more + "\n";
    index("[Icon Theme]\nName=Test\n" + sections_);
  }
  void file(const std::string& name) { test::write_text(root_ / name, "content of " + name); }
  void link(const std::string& name, const std::string& target) {
    fs::create_directories((root_ / name).parent_path());
    fs::create_symlink(target, root_ / name);
  }
  [[nodiscard]] ThemeIcons choose(int resolution, const std::vector<std::string>& contexts = {}) const {
    return choose_icons(root_, read_theme_index(root_), contexts, resolution);
  }
  // "context/name=file ..." of what is chosen.
  [[nodiscard]] std::string chosen(int resolution) const {
    std::string text;
    for (const ThemeIcon& icon : choose(resolution).icons) {
      text += (text.empty() ? "" : " ") + icon.context + "/" + icon.name + "=" + icon.file.string();
    }
    return text;
  }
  test::TemporaryFolder folder_;
  fs::path root_ = fs::canonical(folder_.path()) / "Theme";
  std::string sections_;
};

TEST_F(Theme, ReadsBothOrdersOfFolders) {
  index(
      "# comment\n[Icon Theme]\nName=Test\nDirectories=16x16/apps,base/32x32/places\n\n"
      "[16x16/apps]\r\nSize=16\r\nContext=Applications\r\nType=Fixed\r\n\n"
      "[base/32x32/places]\n Size = 32 \nContext=Places\nScale=2\nType=Scalable\n\n"
      "[places/scalable]\nSize=48\nContext=\n"
      "[apps/broken]\nSize=zero\nContext=Applications\n"
      "[32x32/status]\nSize=32\nContext=Stxatus\n"
      "[32x32/intl]\nSize=32\nContext=International\n"
      "not a line\n=\n[]\n");
  const auto folders = read_theme_index(root_);
  ASSERT_EQ(folders.size(), 4U);
  EXPECT_EQ(folders[0].path, "16x16/apps");
  EXPECT_EQ(folders[0].context, "apps");
  EXPECT_EQ(folders[0].size, 16);
  EXPECT_EQ(folders[0].scale, 1);
  EXPECT_FALSE(folders[0].scalable);
  EXPECT_EQ(folders[1].path, "32x32/status");
  EXPECT_EQ(folders[1].context, "status");  // misspelt: the folder's name decides
  EXPECT_EQ(folders[2].path, "base/32x32/places");
  EXPECT_EQ(folders[2].scale, 2);
  EXPECT_TRUE(folders[2].scalable);
  EXPECT_EQ(folders[3].context, "places");
}

TEST_F(Theme, IndexWithoutIconsIsRefused) {
  EXPECT_THROW(read_theme_index(root_), DataError);
  index("");
  EXPECT_THROW(read_theme_index(root_), DataError);
  index("[Icon Theme]\nName=x\n[cursors]\nSize=32\nContext=Cursors\n");
  EXPECT_THAT(test::data_error([&] { read_theme_index(root_); }), testing::HasSubstr("no folder of icons"));
}

TEST_F(Theme, PrefersExactThenLargerThenScalableThenSmaller) {
  for (const int size : {8, 16, 24, 48, 64}) {
    section(std::to_string(size) + "/apps", size, "Applications");
  }
  section("scalable/apps", 128, "Applications", "Type=Scalable\nMinSize=8\nMaxSize=512");
  file("24/apps/all.png");
  file("48/apps/all.png");
  file("64/apps/all.png");
  file("scalable/apps/all.svg");
  file("24/apps/drawn.png");
  file("scalable/apps/drawn.svg");
  file("16/apps/small.png");
  file("24/apps/small.png");
  file("8/apps/tiny.png");
  EXPECT_EQ(chosen(24), "apps/all=24/apps/all.png apps/drawn=24/apps/drawn.png apps/small=24/apps/small.png");
  EXPECT_EQ(chosen(32), "apps/all=48/apps/all.png apps/drawn=scalable/apps/drawn.svg apps/small=24/apps/small.png");
  EXPECT_EQ(chosen(49), "apps/all=64/apps/all.png apps/drawn=scalable/apps/drawn.svg");  // 24 is under half of 49
  EXPECT_EQ(chosen(16),
            "apps/all=24/apps/all.png apps/drawn=24/apps/drawn.png apps/small=16/apps/small.png "
            "apps/tiny=8/apps/tiny.png");
}

TEST_F(Theme, ScaleCountsForPixelsNotForDrawings) {
  section("16/apps", 16, "Applications");
  section("16@2x/apps", 16, "Applications", "Scale=2");
  section("32/apps", 32, "Applications");
  file("16@2x/apps/a.png");
  file("16/apps/a.png");
  file("16@2x/apps/b.svg");
  file("32/apps/b.svg");
  EXPECT_EQ(chosen(32), "apps/a=16@2x/apps/a.png apps/b=32/apps/b.svg");
}

TEST_F(Theme, OneNameInTwoContextsIsTwoIcons) {
  section("32/apps", 32, "Applications");
  section("32/places", 32, "Places");
  file("32/apps/x.png");
  file("32/places/x.png");
  EXPECT_EQ(chosen(32), "apps/x=32/apps/x.png places/x=32/places/x.png");
  EXPECT_EQ(choose(32, {"places"}).icons.size(), 1U);
}

TEST_F(Theme, LinksGiveWayToTheirFile) {
  section("32/apps", 32, "Applications");
  section("32/hidden", 32, "Animations");
  file("32/apps/printer.png");
  link("32/apps/a-printer.png", "printer.png");
  link("32/apps/b-printer.png", "a-printer.png");
  // Two links to a file that is no icon by itself: the first by name stands for it.
  file("32/hidden/spinner.png");
  link("32/apps/y.png", "../hidden/spinner.png");
  link("32/apps/x.png", "../hidden/spinner.png");
  link("32/apps/dangling.png", "nowhere.png");
  link("32/apps/circle.png", "circle.png");
  fs::create_directories(root_ / "32/apps/folder.png");
  const ThemeIcons icons = choose(32);
  EXPECT_EQ(chosen(32), "apps/printer=32/apps/printer.png apps/x=32/apps/x.png");
  EXPECT_EQ(icons.symlinks, 6U);
  EXPECT_EQ(icons.icons[1].resolved, root_ / "32/hidden/spinner.png");
}

TEST_F(Theme, SymbolicIconsAndOtherFilesAreLeftOut) {
  section("32/apps", 32, "Applications");
  section("symbolic/apps", 16, "Applications", "Type=Scalable");
  file("32/apps/a.png");
  file("32/apps/a.icon");
  file("32/apps/b.xpm");
  file("32/apps/c-symbolic.png");
  file("symbolic/apps/d.svg");
  EXPECT_EQ(chosen(32), "apps/a=32/apps/a.png");
  EXPECT_EQ(choose(32).files, 1U);
}

}  // namespace
}  // namespace soup
