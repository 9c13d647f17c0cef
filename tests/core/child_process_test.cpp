// Programs run as children: output, exit codes, time limits, stop signals.
#include "core/child_process.hpp"

#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <string>
#include <thread>

#include "core/error.hpp"
#include "core/signals.hpp"

namespace soup {
namespace {

using Clock = std::chrono::steady_clock;

ChildProgram shell(const std::string& text) {
  return {{"/bin/sh", "-c", text}, current_environment()};
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

TEST(ChildProcess, KeepsOutputAndErrorsApart) {
  const ChildOutcome outcome = run_child(shell("echo one; echo two >&2; exit 7"));
  EXPECT_EQ(outcome.code, 7);
  EXPECT_EQ(outcome.output, "one\n");
  EXPECT_EQ(outcome.errors, "two\n");
  EXPECT_FALSE(outcome.timed_out);
}

TEST(ChildProcess, ReadsMoreThanAPipeHolds) {
  const ChildOutcome outcome = run_child(shell("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end"));
  EXPECT_EQ(outcome.output.size(), 3000000U + 5U);
  EXPECT_TRUE(outcome.output.ends_with("x\nend\n"));
}

TEST(ChildProcess, KeepsTheEndOfEndlessErrors) {
  const ChildOutcome outcome = run_child(shell("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo end >&2"));
  EXPECT_LT(outcome.errors.size(), 200000U);
  EXPECT_TRUE(outcome.errors.ends_with("xend\n"));
}

TEST(ChildProcess, GivesTheEnvironmentAndAnEmptyInput) {
  ChildProgram program = shell("cat; echo \"$SOUP_TEST_VALUE\"");
  program.environment = {"SOUP_TEST_VALUE=12", "PATH=/usr/bin:/bin"};
  EXPECT_EQ(run_child(program).output, "12\n");
}

TEST(ChildProcess, NamesASignal) {
  EXPECT_EQ(run_child(shell("kill -9 $$")).code, 128 + SIGKILL);
}

TEST(ChildProcess, DoesNotWaitForWhatAChildLeavesBehind) {
  const Clock::time_point begin = Clock::now();
  EXPECT_EQ(run_child(shell("sleep 30 & echo done")).output, "done\n");
  EXPECT_LT(seconds_since(begin), 10.0);
}

TEST(ChildProcess, EndsTheWholeGroupAtTheTimeLimit) {
  ChildProgram program = shell("echo begun; sleep 60 | sleep 60");
  program.timeout_seconds = 0.3;
  const Clock::time_point begin = Clock::now();
  const ChildOutcome outcome = run_child(program);
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_EQ(outcome.code, 128 + SIGTERM);
  EXPECT_EQ(outcome.output, "begun\n");
  EXPECT_LT(seconds_since(begin), 20.0);
}

TEST(ChildProcess, KillsWhatDoesNotListen) {
  ChildProgram program = shell("trap '' TERM; while :; do sleep 0.1; done");
  program.timeout_seconds = 0.2;
  EXPECT_EQ(run_child(program).code, 128 + SIGKILL);
}

TEST(ChildProcess, SaysWhatCannotBeStarted) {
  try {
    run_child({{"soup-no-such-program"}, current_environment(), "install it"});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()),
              "soup-no-such-program: cannot be started: No such file or directory\n  hint: install it");
  }
}

// Last: the stop request stays.
TEST(ChildProcessZ, EndsTheChildOnAStopSignal) {
  install_stop_signals();
  const Clock::time_point begin = Clock::now();
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ::raise(SIGTERM);
  }).detach();
  EXPECT_THROW(run_child(shell("sleep 60")), Interrupted);
  EXPECT_LT(seconds_since(begin), 20.0);
}

}  // namespace
}  // namespace soup
