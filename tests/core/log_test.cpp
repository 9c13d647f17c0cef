// The log: JSON lines that stay whole with many writers, calm terminal text, ranks, disk-full.
#include "core/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::MatchesRegex;

std::vector<json> lines_of(const std::filesystem::path& path) {
  std::vector<json> lines;
  for (const std::string& line : split(read_file(path), '\n')) {
    if (!line.empty()) {
      lines.push_back(json::parse(line));
    }
  }
  return lines;
}

TEST(Log, TerminalTextIsCalm) {
  testing::internal::CaptureStderr();
  Log log;
  log.info("importing {braces} 100%");
  log.warn("two icons are equal");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, MatchesRegex("[0-9:]{8} importing .braces. 100%\n[0-9:]{8} warning: two icons are equal\n"));
  EXPECT_FALSE(log.interactive());
}

TEST(Log, OtherRanksOnlyWarn) {
  testing::internal::CaptureStderr();
  Log log(3);
  log.info("not shown");
  log.warn("shown");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, MatchesRegex("[0-9:]{8} rank 3: warning: shown\n"));
  EXPECT_EQ(log.rank(), 3);
}

TEST(Log, FileGetsTimeRankEventAndFields) {
  const test::TemporaryFolder folder;
  Log log(2);
  log.event("lost", {{"before", "the file is open"}});
  log.open_file(folder / "log.jsonl");
  log.event("step", {{"images", 640}, {"loss", 0.5}});
  log.info("text");
  const std::vector<json> lines = lines_of(folder / "log.jsonl");
  ASSERT_EQ(lines.size(), 2);
  EXPECT_THAT(lines[0]["time"].get<std::string>(), MatchesRegex("20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z"));
  EXPECT_EQ(lines[0]["rank"], 2);
  EXPECT_EQ(lines[0]["event"], "step");
  EXPECT_EQ(lines[0]["images"], 640);
  EXPECT_EQ(lines[0]["loss"], 0.5);
  EXPECT_EQ(lines[1]["event"], "info");
  EXPECT_EQ(lines[1]["text"], "text");
}

TEST(Log, TextThatIsNotUtf8DoesNotBreakTheFile) {
  const test::TemporaryFolder folder;
  Log log(1);
  log.open_file(folder / "log.jsonl");
  log.event("name", {{"file", "caf\xE9\n.png"}});
  EXPECT_EQ(lines_of(folder / "log.jsonl").at(0)["file"], "caf\xEF\xBF\xBD\n.png");
}

TEST(Log, SecondOpeningAppends) {
  const test::TemporaryFolder folder;
  for (int i = 0; i < 2; ++i) {
    Log log(1);
    log.open_file(folder / "log.jsonl");
    log.event("start", json::object());
  }
  EXPECT_EQ(lines_of(folder / "log.jsonl").size(), 2);
}

// Processes and threads write lines of very different lengths into one file; each must be whole and none lost.
TEST(Log, LinesOfManyWritersStayWhole) {
  const test::TemporaryFolder folder;
  constexpr int process_count = 4;
  constexpr int thread_count = 2;
  constexpr int line_count = 200;
  for (int process = 0; process < process_count; ++process) {
    if (::fork() == 0) {
      {
        Log log(process + 1);
        log.open_file(folder / "log.jsonl");
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < thread_count; ++thread) {
          threads.emplace_back([&log, thread] {
            for (int line = 0; line < line_count; ++line) {
              log.event("line", {{"key", std::to_string(thread) + "." + std::to_string(line)},
                                 {"text", std::string(static_cast<std::size_t>(line) * 50, 'x')}});
            }
          });
        }
      }
      std::_Exit(0);
    }
  }
  for (int process = 0; process < process_count; ++process) {
    int status = -1;
    ASSERT_GT(::wait(&status), 0);
    EXPECT_EQ(status, 0);
  }
  std::map<std::pair<int, std::string>, int> seen;
  for (const json& line : lines_of(folder / "log.jsonl")) {
    ++seen[{line["rank"].get<int>(), line["key"].get<std::string>()}];
  }
  EXPECT_EQ(seen.size(), process_count * thread_count * line_count);
}

TEST(Log, FullDiskAndBadPlacesAreDataErrors) {
  const test::TemporaryFolder folder;
  Log log(1);
  log.open_file("/dev/full");
  try {
    log.event("step", {{"images", 1}});
    FAIL() << "nothing was thrown";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("/dev/full: cannot write: No space left on device"));
    EXPECT_THAT(error.hint(), HasSubstr("free some space"));
  }
  EXPECT_THROW(log.open_file(folder / "missing/log.jsonl"), DataError);
}

TEST(Log, FieldsMustBeAnObject) {
  const test::TemporaryFolder folder;
  Log log(1);
  log.open_file(folder / "log.jsonl");
  EXPECT_THROW(log.event("x", json::array({1, 2})), InvariantError);
}

}  // namespace
}  // namespace soup
