// Files copied between folders, and the errors that name them.
#include "core/copy_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

TEST(CopyFiles, KeepTheirPlacesAndReplaceWhatIsThere) {
  const test::TemporaryFolder folder;
  const fs::path from = folder / "from";
  const fs::path to = folder / "to";
  fs::create_directories(from / "unet");
  fs::create_directories(to);
  write_file_atomically(from / "unet/weights", "w");
  write_file_atomically(from / "config.json", "new");
  write_file_atomically(from / "other", "o");
  write_file_atomically(to / "config.json", "old");
  copy_files(from, to, {"unet/weights", "config.json"});
  EXPECT_EQ(read_file(to / "unet/weights"), "w");
  EXPECT_EQ(read_file(to / "config.json"), "new");
  EXPECT_FALSE(fs::exists(to / "other"));
}

TEST(CopyFiles, ErrorsNameTheCopyAndItsOrigin) {
  const test::TemporaryFolder folder;
  const auto error_of = [&](const fs::path& to, const fs::path& file) -> std::string {
    try {
      copy_files(folder / "from", to, {file});
    } catch (const DataError& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_THAT(error_of(folder / "to", "absent"), testing::AllOf(testing::HasSubstr((folder / "to/absent").string()),
                                                                testing::HasSubstr((folder / "from/absent").string())));
  write_file_atomically(folder / "file", "");
  EXPECT_THAT(error_of(folder / "file", "x"), testing::HasSubstr((folder / "file/x").string()));
}

}  // namespace
}  // namespace soup
