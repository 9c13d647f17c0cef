// Progress: a live line on a terminal (a pseudo-terminal here), calm text elsewhere, honest rates on resume.
#include "core/progress.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

// While it lives, stderr is a terminal of `columns` columns.
class TerminalOnStderr {
 public:
  explicit TerminalOnStderr(unsigned short columns) : saved_(::dup(STDERR_FILENO)) {
    winsize size{};
    size.ws_row = 24;
    size.ws_col = columns;
    int terminal = -1;
    if (saved_ < 0 || ::openpty(&master_, &terminal, nullptr, nullptr, &size) != 0 ||
        ::dup2(terminal, STDERR_FILENO) < 0 || ::fcntl(master_, F_SETFL, O_NONBLOCK) != 0) {
      throw std::runtime_error("no pseudo-terminal");
    }
    ::close(terminal);
  }
  ~TerminalOnStderr() {
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
    ::close(master_);
  }
  TerminalOnStderr(const TerminalOnStderr&) = delete;
  TerminalOnStderr& operator=(const TerminalOnStderr&) = delete;

  // All that was shown since the last call.
  std::string shown() {
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t count = 0; (count = ::read(master_, buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return text;
  }

 private:
  int saved_;
  int master_ = -1;
};

TEST(Progress, LiveLineOnATerminal) {
  TerminalOnStderr terminal(100);
  Log log;
  ASSERT_TRUE(log.interactive());
  Progress progress(log, "train tango", 1000, "images");
  progress.advance_to(250, "loss 0.0812");
  const std::string live = terminal.shown();
  EXPECT_THAT(live, testing::StartsWith("\r\x1b[K"));
  EXPECT_THAT(live, HasSubstr("train tango: 250/1000 images, "));
  EXPECT_THAT(live, HasSubstr("/s, "));
  EXPECT_THAT(live, HasSubstr(" left"));
  EXPECT_THAT(live, EndsWith("loss 0.0812"));
  EXPECT_THAT(live, Not(HasSubstr("\n")));

  log.info("a note");
  const std::string note = terminal.shown();
  EXPECT_THAT(note, HasSubstr("a note\r\n"));
  EXPECT_THAT(note, EndsWith("loss 0.0812"));  // drawn again below

  progress.advance_to(1000);
  progress.finish();
  EXPECT_THAT(terminal.shown(), HasSubstr("train tango: 1000 images in "));
  log.info("next");
  EXPECT_THAT(terminal.shown(), Not(HasSubstr("tango")));
}

TEST(Progress, LiveLineIsCutToTheTerminal) {
  TerminalOnStderr terminal(20);
  Log log;
  Progress progress(log, "\xC3\xA4\xC3\xA4 a stage with quite a long name", 1000, "images");
  progress.advance_to(1);
  const std::string live = terminal.shown();
  EXPECT_TRUE(is_utf8(live));
  EXPECT_EQ(live, "\r\x1b[K\xC3\xA4\xC3\xA4 a stage with qui");  // 19 characters
}

TEST(Progress, LiveLineThroughThePipeOfMpirun) {
  ::setenv("SOUP_LIVE", "1", 1);
  ::setenv("COLUMNS", "12", 1);
  testing::internal::CaptureStderr();
  Log log;
  const Log other_rank(1);
  {
    Progress progress(log, "a long stage", 1000, "images");
    progress.advance_to(1);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  ::unsetenv("SOUP_LIVE");
  ::unsetenv("COLUMNS");
  EXPECT_TRUE(log.interactive());
  EXPECT_FALSE(other_rank.interactive());
  EXPECT_THAT(text, testing::StartsWith("\r\x1b[Ka long stag\r\x1b[K"));
}

TEST(Progress, ManyStepsDrawFewLines) {
  TerminalOnStderr terminal(100);
  Log log;
  Progress progress(log, "hash", 100'000, "files");
  for (std::uint64_t done = 1; done <= 1000; ++done) {
    progress.advance_to(done);
  }
  EXPECT_LT(terminal.shown().size(), 2000);
}

TEST(Progress, ElsewhereOneCalmLineAtTheEnd) {
  testing::internal::CaptureStderr();
  {
    Log log;
    Progress progress(log, "import", 3, "files");
    progress.advance_to(3);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, testing::MatchesRegex("[0-9:]{8} import: 3 files in [0-9.]+ s\n"));
}

TEST(Progress, OtherRanksAreSilent) {
  testing::internal::CaptureStderr();
  {
    Log log(1);
    Progress progress(log, "import", 3, "files");
    progress.advance_to(3);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Progress, RateCountsOnlyThisProcess) {
  testing::internal::CaptureStderr();
  Log log;
  Progress progress(log, "train", 2'000'000, "images", 1'000'000);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  progress.advance_to(1'000'100);
  EXPECT_GT(progress.rate(), 0.0);
  EXPECT_LE(progress.rate(), 100 / 0.02);
  progress.finish();
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("train: 100 images in"));
}

TEST(Progress, GoingBackIsAnError) {
  Log log(1);
  Progress progress(log, "train", 10, "images", 5);
  EXPECT_THROW(progress.advance_to(4), InvariantError);
}

TEST(Progress, EndsOnceAndTellsTheFileWhetherItStopped) {
  const test::TemporaryFolder folder;
  testing::internal::CaptureStderr();
  {
    Log log;
    log.open_file(folder / "log.jsonl");
    {
      Progress progress(log, "first", 2, "bytes");
      progress.advance_to(2);
      progress.finish();
    }
    try {
      Progress progress(log, "second", 4096, "bytes");
      progress.advance_to(1024);
      throw std::runtime_error("disk on fire");
    } catch (const std::runtime_error&) {
      log.event("caught", nlohmann::json::object());
    }
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("second: stopped at 1.0 KiB of 4.0 KiB bytes"));
  const std::vector<std::string> lines = split(read_file(folder / "log.jsonl"), '\n');
  ASSERT_EQ(lines.size(), 4);  // three lines and the empty rest
  const auto first = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(first["event"], "finished");
  EXPECT_EQ(first["stage"], "first");
  const auto second = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(second["event"], "stopped");
  EXPECT_EQ(second["done"], 1024);
}

}  // namespace
}  // namespace soup
