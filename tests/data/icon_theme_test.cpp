// Importing an icon theme: from files to a shard.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/log.hpp"
#include "data/import.hpp"
#include "tests/data/samples.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class IconTheme : public testing::Test {
 protected:
  IconTheme() {
    std::string index = "[Icon Theme]\nName=North\n";
    for (const char* context : {"apps", "places", "devices"}) {
      index += std::string("[16/") + context + "]\nSize=16\nContext=" + context + "\n";
    }
    test::write_text(root_ / "index.theme", index);
    test::write_text(folder_.path() / "usr/share/doc/north-icon-theme/copyright", "Files: *\nLicense: GPL-3+\n");
    source_ = {.root = root_, .package = "north-icon-theme", .style = "", .contexts = {}};
    options_ = {.shard = "north", .resolution = 16, .workers = 2};
  }
  void icon(const std::string& name, std::uint64_t seed) {
    fs::create_directories((root_ / "16" / name).parent_path());
    write_png(root_ / "16" / name, test::noise_image(16, 16, 3, seed));
  }
  ImportReport import() { return import_icon_theme(source_, options_, out_, log_); }
  std::vector<std::string> captions() {
    std::vector<std::string> all;
    const ShardFile file(out_);
    for (std::size_t i = 0; i < file.size(); ++i) {
      all.emplace_back(file.caption(i));
    }
    return all;
  }
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path() / "usr/share/icons/North";
  fs::path out_ = folder_.path() / "north.h5";
  IconThemeSource source_;
  ImportOptions options_;
  Log log_{1};  // silent
};

TEST_F(IconTheme, CaptionsKeysStyleAndOrigin) {
  icon("devices/printer-network.png", 1);
  icon("places/folder-blue-music.png", 2);
  icon("apps/org.kde.dolphin.png", 3);
  const ImportReport report = import();
  EXPECT_EQ(report.files, 3U);
  EXPECT_EQ(report.kept, 3U);
  const ShardFile file(out_);
  EXPECT_EQ(captions(),
            (std::vector<std::string>{"apps dolphin", "devices printer network", "places folder blue music"}));
  EXPECT_EQ(file.key(1), "printer network");
  EXPECT_EQ(file.key(2), "folder music");
  EXPECT_EQ(file.style(0), "north");
  EXPECT_EQ(file.source(1), "16/devices/printer-network.png");
  EXPECT_EQ(file.origin().name, "north");
  EXPECT_EQ(file.origin().source, "icon theme North");
  EXPECT_EQ(file.origin().package, "north-icon-theme");
  EXPECT_EQ(file.origin().licence, "GPL-3+");
  const Image printer = test::noise_image(16, 16, 3, 1);
  EXPECT_TRUE(std::equal(printer.pixels.begin(), printer.pixels.end(), file.pixels(1).begin()));
  EXPECT_NO_THROW(file.verify());
}

TEST_F(IconTheme, CountsLinksDuplicatesBlanksAndBrokenOnes) {
  options_.max_broken_fraction = 0.5;
  options_.seconds_per_image = 1.0;
  icon("apps/first.png", 1);
  icon("apps/second.png", 1);  // equal pixels
  icon("apps/third.png", 2);
  fs::create_symlink("third.png", root_ / "16/apps/fourth.png");
  write_png(root_ / "16/apps/white.png", test::flat_image(16, 16, 254));
  test::write_text(root_ / "16/apps/torn.png", "\x89PNG\r\n\x1a\n torn");
  test::write_text(root_ / "16/apps/endless.svg",
                   "<svg xmlns='http://www.w3.org/2000/svg' width='16' height='16'><filter id='f'>"
                   "<feTurbulence numOctaves='2000000000' baseFrequency='0.05'/></filter>"
                   "<rect width='16' height='16' filter='url(#f)'/></svg>");
  const ImportReport report = import();
  EXPECT_EQ(report.files, 7U);
  EXPECT_EQ(report.kept, 2U);
  EXPECT_EQ(report.duplicates, 1U);
  EXPECT_EQ(report.symlinks, 1U);
  EXPECT_EQ(report.blank, 1U);
  ASSERT_EQ(report.broken.size(), 2U);
  EXPECT_EQ(report.broken[0], "16/apps/endless.svg: not decoded within 1 s");
  EXPECT_THAT(report.broken[1], testing::StartsWith("16/apps/torn.png: cannot decode"));
  EXPECT_EQ(captions(), (std::vector<std::string>{"apps first", "apps third"}));
}

TEST_F(IconTheme, TooManyBrokenImagesAreAnError) {
  icon("apps/good.png", 1);
  test::write_text(root_ / "16/apps/torn.png", "torn");
  options_.max_broken_fraction = 0.4;
  EXPECT_THAT(test::data_error([&] { import(); }), testing::AllOf(HasSubstr("1 of 2"), HasSubstr("torn.png")));
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(IconTheme, TheShardDoesNotDependOnWorkers) {
  for (std::uint64_t i = 0; i < 60; ++i) {
    icon((i % 2 == 0 ? "apps/icon" : "places/icon") + std::string(1 + i / 26, 'x') + static_cast<char>('a' + i % 26) +
             ".png",
         i);
  }
  std::set<std::string> files;
  for (const int workers : {1, 2, 3, 8}) {
    options_.workers = workers;
    EXPECT_EQ(import().kept, 60U);
    files.insert(test::read_bytes(out_));
  }
  EXPECT_EQ(files.size(), 1U);
}

TEST_F(IconTheme, LimitsAreExactAndIndependentOfTheAlphabet) {
  for (int i = 0; i < 26; ++i) {
    icon(std::string("apps/") + static_cast<char>('a' + i) + "word.png", static_cast<std::uint64_t>(i));
  }
  source_.limit = 10;
  EXPECT_EQ(import().kept, 10U);
  const std::vector<std::string> ten = captions();
  EXPECT_EQ(ten.size(), 10U);
  EXPECT_GT(*std::max_element(ten.begin(), ten.end()), "apps m");
  // A larger limit keeps what a smaller one kept.
  source_.limit = 15;
  import();
  const std::vector<std::string> fifteen = captions();
  for (const std::string& caption : ten) {
    EXPECT_EQ(std::count(fifteen.begin(), fifteen.end(), caption), 1) << caption;
  }
}

TEST_F(IconTheme, ColourVariantsOfOneKeyAreThinned) {
  std::uint64_t seed = 0;
  for (const char* colour : {"blue", "red", "green", "pink", "teal"}) {
    icon(std::string("places/folder-") + colour + "-music.png", ++seed);
  }
  icon("places/folder-games.png", ++seed);
  source_.per_key_limit = 2;
  EXPECT_EQ(import().kept, 3U);
  const ShardFile file(out_);
  std::multiset<std::string> keys;
  for (std::size_t i = 0; i < file.size(); ++i) {
    keys.emplace(file.key(i));
  }
  EXPECT_EQ(keys.count("folder music"), 2U);
  EXPECT_EQ(keys.count("folder games"), 1U);
}

TEST_F(IconTheme, ContextsAreChosenByName) {
  icon("apps/a.png", 1);
  icon("places/b.png", 2);
  source_.contexts = {"places"};
  EXPECT_EQ(import().kept, 1U);
  EXPECT_EQ(captions(), std::vector<std::string>{"places b"});
  source_.contexts = {"Places"};
  EXPECT_THROW(import(), ConfigError);
}

TEST_F(IconTheme, AMissingThemeNamesItsPackage) {
  source_.root = folder_.path() / "usr/share/icons/South";
  source_.package = "south-icon-theme";
  EXPECT_THAT(test::data_error([&] { import(); }),
              testing::AllOf(HasSubstr("south-icon-theme"), HasSubstr("bash launch/setup.sh")));
}

TEST_F(IconTheme, AThemeWithoutIconsIsAnEmptyShard) {
  EXPECT_THAT(test::data_error([&] { import(); }), HasSubstr("no images"));
  EXPECT_FALSE(fs::exists(out_));
}

}  // namespace
}  // namespace soup
