// Files appear whole under their final name or not at all: exceptions, full disks, folders that refuse.
#include "core/atomic_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <stdexcept>

#include "core/error.hpp"
#include "core/process_identity.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no DataError";
}

// As on a full disk, writes past `bytes` fail; root is limited too, unlike by permissions.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_limit_);
    const rlimit limit{bytes, old_limit_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_limit_);
    std::signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_limit_{};
  void (*old_handler_)(int);
};

TEST(AtomicFile, AppearsOnlyAtCommit) {
  const test::TemporaryFolder folder;
  AtomicFile file(folder / "a.txt");
  file.write("one ");
  file.write(std::as_bytes(std::span(std::string_view("two"))));
  EXPECT_FALSE(fs::exists(folder / "a.txt"));
  EXPECT_EQ(folder.entries(), 1);  // the partial file
  file.commit();
  EXPECT_EQ(read_file(folder / "a.txt"), "one two");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(AtomicFile, ExceptionLeavesTheOldFileAndNoPartial) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "a.txt", "old");
  try {
    AtomicFile file(folder / "a.txt");
    file.write("new, but never");
    throw std::runtime_error("in between");
  } catch (const std::runtime_error&) {
    EXPECT_EQ(folder.entries(), 1);
  }
  EXPECT_EQ(read_file(folder / "a.txt"), "old");
}

TEST(AtomicFile, FullDiskIsADataErrorAndKeepsTheOldFile) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "a.txt", "old");
  const FileSizeLimit limit(4096);
  const std::string text = message_of([&] { write_file_atomically(folder / "a.txt", std::string(5000, 'x')); });
  EXPECT_THAT(text, HasSubstr((folder / "a.txt").string() + ": cannot write"));
  EXPECT_THAT(text, HasSubstr("hint:"));
  EXPECT_EQ(read_file(folder / "a.txt"), "old");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(AtomicFile, PlacesThatRefuseAreNamed) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  EXPECT_THAT(message_of([&] { AtomicFile(folder / "file/below"); }),
              HasSubstr((folder / "file/below").string() + ":"));
  EXPECT_THAT(message_of([&] { AtomicFile(folder / "missing/a"); }), HasSubstr("No such file"));
  fs::create_directory(folder / "taken");
  EXPECT_THAT(message_of([&] { write_file_atomically(folder / "taken", "x"); }), HasSubstr("Is a directory"));
  EXPECT_EQ(folder.entries(), 2);
}

TEST(AtomicFile, StalePartialOfAKilledProcessIsOverwritten) {
  const test::TemporaryFolder folder;
  std::ofstream(folder / ("a.txt.partial-" + host_name() + "-" + std::to_string(::getpid())))
      << "something longer than the new content";
  write_file_atomically(folder / "a.txt", "new");
  EXPECT_EQ(read_file(folder / "a.txt"), "new");
}

TEST(AtomicFile, UseAfterCommitIsAnError) {
  const test::TemporaryFolder folder;
  AtomicFile file(folder / "a.txt");
  file.commit();
  EXPECT_THROW(file.write("x"), InvariantError);
  EXPECT_THROW(file.commit(), InvariantError);
}

TEST(AtomicPath, KeepsTheExtensionAndRenames) {
  const test::TemporaryFolder folder;
  AtomicPath path(folder / "grid.png");
  EXPECT_EQ(path.partial().extension(), ".png");
  EXPECT_EQ(path.partial().parent_path(), folder.path());
  std::ofstream(path.partial()) << "pixels";
  path.commit();
  EXPECT_EQ(read_file(folder / "grid.png"), "pixels");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(AtomicPath, UncommittedIsRemovedAndNeverWrittenIsAnError) {
  const test::TemporaryFolder folder;
  {
    const AtomicPath path(folder / "a.h5");
    std::ofstream(path.partial()) << "half";
  }
  EXPECT_EQ(folder.entries(), 0);
  AtomicPath nothing(folder / "b.h5");
  EXPECT_THROW(nothing.commit(), DataError);
}

TEST(AtomicFolder, AppearsWholeWithMissingParents) {
  const test::TemporaryFolder folder;
  AtomicFolder model(folder / "runs/x/model");
  fs::create_directory(model.partial() / "unet");
  std::ofstream(model.partial() / "unet/config.json") << "{}";
  EXPECT_FALSE(fs::exists(folder / "runs/x/model"));
  model.commit();
  EXPECT_EQ(read_file(folder / "runs/x/model/unet/config.json"), "{}");
}

TEST(AtomicFolder, ReplacesAnOlderFolderWithAllThatIsInIt) {
  const test::TemporaryFolder folder;
  fs::create_directories(folder / "model/old");
  std::ofstream(folder / "model/old/file") << "old";
  AtomicFolder model((folder / "model").string() + "/");
  std::ofstream(model.partial() / "new") << "new";
  EXPECT_TRUE(fs::exists(folder / "model/old/file"));
  model.commit();
  EXPECT_EQ(read_file(folder / "model/new"), "new");
  EXPECT_FALSE(fs::exists(folder / "model/old"));
  EXPECT_EQ(folder.entries(), 1);
}

TEST(AtomicFolder, ExceptionLeavesTheOldFolderAndNoPartial) {
  const test::TemporaryFolder folder;
  fs::create_directory(folder / "model");
  std::ofstream(folder / "model/old") << "old";
  try {
    const AtomicFolder model(folder / "model");
    std::ofstream(model.partial() / "half") << "half";
    throw std::runtime_error("in between");
  } catch (const std::runtime_error&) {
    EXPECT_EQ(folder.entries(), 1);
  }
  EXPECT_EQ(read_file(folder / "model/old"), "old");
}

TEST(AtomicFolder, BelowAFileIsADataError) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  EXPECT_THAT(message_of([&] { AtomicFolder(folder / "file/model"); }),
              HasSubstr((folder / "file/model").string() + ":"));
}

TEST(ReadFile, RefusesWhatIsTooLargeMissingOrAFolder) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "ten", "0123456789");
  EXPECT_EQ(read_file(folder / "ten", 10), "0123456789");
  EXPECT_THAT(message_of([&] { read_file(folder / "ten", 9); }), HasSubstr("10 bytes or more; at most 9"));
  EXPECT_THAT(message_of([&] { read_file(folder / "none"); }), HasSubstr("No such file"));
  EXPECT_THAT(message_of([&] { read_file(folder.path()); }), HasSubstr("directory"));
  EXPECT_THAT(message_of([] { read_file("/dev/zero", 1 << 20); }), HasSubstr("at most 1048576"));
}

TEST(ReadFile, EmptyLargeAndUnsizedFiles) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "empty", "");
  EXPECT_EQ(read_file(folder / "empty"), "");
  const std::string large(300'000, 'z');
  write_file_atomically(folder / "large", large);
  EXPECT_EQ(read_file(folder / "large"), large);
  EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("VmRSS"));  // its size reads as 0
}

TEST(RemovePartials, TakesLeftoversOfThisFolderOnly) {
  const test::TemporaryFolder temp;
  const std::filesystem::path folder = temp.path() / "soup";
  for (const char* name : {"soup/unet", "soup.partial-12/unet", "soups.partial-12"}) {
    std::filesystem::create_directories(temp.path() / name);
  }
  write_file_atomically(folder / "unet" / "weights.partial-77.bin", "x");
  write_file_atomically(folder / "unet" / "weights.bin", "x");
  remove_partials(folder);
  EXPECT_TRUE(std::filesystem::exists(folder / "unet" / "weights.bin"));
  EXPECT_FALSE(std::filesystem::exists(folder / "unet" / "weights.partial-77.bin"));
  EXPECT_FALSE(std::filesystem::exists(temp.path() / "soup.partial-12"));
  EXPECT_TRUE(std::filesystem::exists(temp.path() / "soups.partial-12"));
  EXPECT_NO_THROW(remove_partials(temp.path() / "absent" / "soup"));
}

TEST(AtomicFile, HalfWrittenFilesOfTheDeadAreRemovedAndNoOthers) {
  const test::TemporaryFolder temp;
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto name = [](const std::string& host, int process) {
    return "experiment.yaml.partial-" + host + "-" + std::to_string(process);
  };
  const auto dead = temp.path() / name(host_name(), child);
  const auto alive = temp.path() / name(host_name(), ::getpid());
  const auto elsewhere = temp.path() / name("another", child);
  for (const auto& path : {dead, alive, elsewhere}) {
    std::ofstream(path) << "half";
  }
  remove_partials_of_the_dead(temp.path());
  EXPECT_FALSE(std::filesystem::exists(dead));
  EXPECT_TRUE(std::filesystem::exists(alive));
  EXPECT_TRUE(std::filesystem::exists(elsewhere));
}

TEST(RequirePlaceFor, AFileOfAnExistingFolder) {
  const test::TemporaryFolder folder;
  EXPECT_NO_THROW(require_place_for(folder.path() / "new"));
  write_file_atomically(folder.path() / "old", "x");
  EXPECT_NO_THROW(require_place_for(folder.path() / "old"));
  EXPECT_NO_THROW(require_place_for("in_this_folder"));
  EXPECT_THAT(message_of([&] { require_place_for(folder.path()); }), HasSubstr("is a folder"));
  EXPECT_THAT(message_of([&] { require_place_for(folder.path() / "none" / "new"); }), HasSubstr("there is no folder"));
  EXPECT_THAT(message_of([&] { require_place_for(folder.path() / "old" / "new"); }), HasSubstr("there is no folder"));
}

}  // namespace
}  // namespace soup
