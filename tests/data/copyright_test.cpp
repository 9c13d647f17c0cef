// Licences from Debian copyright files.
#include "data/copyright.hpp"

#include <gtest/gtest.h>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

TEST(LicenceSummary, ListsTheLicencesOfTheFilesOnce) {
  EXPECT_EQ(licence_summary("Format: copyright-format/1.0\n\n"
                            "Files: *\nCopyright: someone\nLicense: LGPL-3+  or CC-BY-SA\nComment:\n  License: MIT\n\n"
                            "Files: debian/*\nLicense: GPL-1\n\n"
                            "Files: a/*\n b/*\nLicense: GPL-2+\n\n"
                            "Files: c/*\nLicense: GPL-2+\n text\n\n"
                            "License: Apache-2.0\n full text\n",
                            "some-package"),
            "LGPL-3+ or CC-BY-SA, GPL-2+");
}

TEST(LicenceSummary, OtherFormsAreReferredTo) {
  EXPECT_EQ(licence_summary("This package was put together by hand.\nLicense: see below\n", "old-package"),
            "see old-package's copyright file");
  EXPECT_EQ(licence_summary("", "empty"), "see empty's copyright file");
}

TEST(LicenceSummary, StaysShort) {
  std::string text;
  for (int i = 0; i < 1000; ++i) {
    text += "Files: f" + std::to_string(i) + "\nLicense: own-licence-" + std::to_string(i) + "\n\n";
  }
  const std::string summary = licence_summary(text, "p");
  EXPECT_LT(summary.size(), 2500U);
  EXPECT_THAT(summary, testing::EndsWith(", ..."));
}

TEST(PackageLicence, IsReadFromBesideTheTheme) {
  const test::TemporaryFolder folder;
  test::write_text(folder.path() / "usr/share/doc/p/copyright", "Files: *\nLicense: GPL-3\n");
  std::filesystem::create_directories(folder.path() / "usr/share/icons/T");
  EXPECT_EQ(package_licence(folder.path() / "usr/share/icons/T", "p"), "GPL-3");
  EXPECT_EQ(package_licence(folder.path() / "usr/share/icons/T/", "p"), "GPL-3");
  const std::string error = test::data_error([&] { package_licence(folder.path() / "usr/share/icons/T", "q-theme"); });
  EXPECT_THAT(error, testing::HasSubstr("q-theme"));
  EXPECT_THAT(error, testing::HasSubstr("launch/setup.sh"));
}

}  // namespace
}  // namespace soup
