#include "core/file_lock.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using test::TemporaryFolder;

// Another process that has run `first`, and waits until it is told to go on or killed.
class Other {
 public:
  explicit Other(const std::function<bool()>& first) {
    std::array<int, 2> down{};
    std::array<int, 2> up{};
    EXPECT_EQ(::pipe(down.data()), 0);
    EXPECT_EQ(::pipe(up.data()), 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::close(down[1]);
      char answer = 'n';
      {
        answer = first() ? 'y' : 'n';
        [[maybe_unused]] const auto written = ::write(up[1], &answer, 1);
        [[maybe_unused]] const auto told = ::read(down[0], &answer, 1);
      }
      ::_exit(0);
    }
    ::close(down[0]);
    go_ = down[1];
    char answer = 'n';
    EXPECT_EQ(::read(up[0], &answer, 1), 1);
    succeeded_ = answer == 'y';
    ::close(up[0]);
    ::close(up[1]);
  }
  void kill() { end(SIGKILL); }
  ~Other() {
    if (child_ > 0) {
      end(0);
    }
  }
  [[nodiscard]] bool succeeded() const { return succeeded_; }

 private:
  void end(int signal) {
    if (signal != 0) {
      ::kill(child_, signal);
    }
    ::close(go_);
    ::waitpid(child_, nullptr, 0);
    child_ = -1;
  }
  pid_t child_ = -1;
  int go_ = -1;
  bool succeeded_ = false;
};

TEST(FileLock, OneProcessAtATimeHoldsIt) {
  const TemporaryFolder folder;
  const auto path = folder / "stage.lock";
  EXPECT_FALSE(lock_holder(path));
  std::optional<FileLock> theirs;
  Other other([&] {
    theirs = FileLock::try_take(path, "host a, process 1");
    return theirs.has_value();
  });
  ASSERT_TRUE(other.succeeded());
  EXPECT_FALSE(FileLock::try_take(path, "host b, process 2"));
  EXPECT_EQ(lock_holder(path), "host a, process 1");
}

TEST(FileLock, GivenBackItSaysNothingOfItsHolder) {
  const TemporaryFolder folder;
  const auto path = folder / "stage.lock";
  {
    const std::optional<FileLock> lock = FileLock::try_take(path, "the first");
    ASSERT_TRUE(lock);
    EXPECT_TRUE(lock->is_kept());
    EXPECT_EQ(lock->abandoned(), "");
    // Not read here: closing the file anywhere in the process that holds it would give the lock back.
    const Other other([&] { return !FileLock::try_take(path, "another") && lock_holder(path) == "the first"; });
    EXPECT_TRUE(other.succeeded());
  }
  EXPECT_EQ(read_file(path), "");
  const std::optional<FileLock> lock = FileLock::try_take(path, "the second");
  ASSERT_TRUE(lock);
  EXPECT_EQ(lock->abandoned(), "");
}

TEST(FileLock, OfAKilledProcessIsFreeAndNamesIt) {
  const TemporaryFolder folder;
  const auto path = folder / "stage.lock";
  std::optional<FileLock> theirs;
  Other other([&] {
    theirs = FileLock::try_take(path, "killed on host a, with a longer text");
    return theirs.has_value();
  });
  ASSERT_TRUE(other.succeeded());
  other.kill();
  EXPECT_FALSE(lock_holder(path));
  const std::optional<FileLock> lock = FileLock::try_take(path, "mine");
  ASSERT_TRUE(lock);
  EXPECT_EQ(lock->abandoned(), "killed on host a, with a longer text");
  EXPECT_EQ(read_file(path), "mine");
}

TEST(FileLock, ChildrenDoNotKeepIt) {
  const TemporaryFolder folder;
  const auto path = folder / "stage.lock";
  std::optional<FileLock> lock = FileLock::try_take(path, "parent");
  ASSERT_TRUE(lock);
  const Other child([] { return true; });
  lock.reset();
  const Other other([&] { return FileLock::try_take(path, "another").has_value(); });
  EXPECT_TRUE(other.succeeded());
}

TEST(FileLock, InAMissingFolderIsAnError) {
  const TemporaryFolder folder;
  EXPECT_THROW(FileLock::try_take(folder / "missing/stage.lock", "mine"), DataError);
}

}  // namespace
}  // namespace soup
