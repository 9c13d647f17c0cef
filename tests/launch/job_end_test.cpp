// How jobs end: promptly, with the right exit code and message, when a rank throws, dies, hangs or all agree to fail.
#include <gmock/gmock.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "tests/support/command.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

struct Ended {
  int code = -1;
  double seconds = 0.0;
  std::string output;
};

Ended run_job(int ranks, const std::string& fault) {
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  const std::string command = std::string("timeout -k 1 40 ") + MPIRUN + " --oversubscribe --bind-to none -n " +
                              std::to_string(ranks) + " " + FAULTY_RANK + " " + fault;
  const auto start = std::chrono::steady_clock::now();
  const auto [code, text] = test::run_command(command);
  return {code, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), text};
}

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

// Starting and ending mpirun takes 1-3 s here; anything that waits for a time-out takes 40.
constexpr double promptly = 20.0;

TEST(JobEnd, NothingWrongIsZero) {
  const Ended ended = run_job(3, "none");
  EXPECT_EQ(ended.code, 0) << ended.output;
}

TEST(JobEnd, ARankThatThrowsAloneEndsTheJobWithItsCode) {
  const Ended ended = run_job(3, "throw");
  EXPECT_EQ(ended.code, 3) << ended.output;
  EXPECT_LT(ended.seconds, promptly);
  EXPECT_THAT(ended.output, HasSubstr("soup: error: /shard/1: torn\n  hint: fetch it again"));
}

TEST(JobEnd, AbortEndsRanksThatWait) {
  const Ended ended = run_job(2, "throw_past_run");
  EXPECT_EQ(ended.code, 3) << ended.output;
  EXPECT_LT(ended.seconds, promptly);
}

TEST(JobEnd, AnAgreedErrorIsPrintedOnceAndNothingIsAborted) {
  const Ended ended = run_job(3, "agreed");
  EXPECT_EQ(ended.code, 3) << ended.output;
  EXPECT_LT(ended.seconds, promptly);
  EXPECT_EQ(occurrences(ended.output, "/shard/1: torn"), 1u) << ended.output;
  EXPECT_EQ(occurrences(ended.output, "MPI_ABORT"), 0u) << ended.output;
}

TEST(JobEnd, ARankThatDiesEndsTheJob) {
  const Ended killed = run_job(3, "killed");
  EXPECT_EQ(killed.code, 9) << killed.output;
  EXPECT_LT(killed.seconds, promptly);
  const Ended crashed = run_job(2, "segmentation");
  EXPECT_NE(crashed.code, 0) << crashed.output;
  EXPECT_LT(crashed.seconds, promptly);
}

TEST(JobEnd, SurvivorsSayWhatTheyWaitedIn) {
  const Ended ended = run_job(3, "shot");
  // The launcher's code for a process that a signal ended, not one of soup's: it speaks before any rank can.
  EXPECT_EQ(ended.code, 128 + 9) << ended.output;
  EXPECT_LT(ended.seconds, promptly);
  EXPECT_THAT(ended.output, HasSubstr("waited for other ranks in world: barrier"));
}

TEST(JobEnd, TheWatchdogNamesTheCallThatHangs) {
  const Ended ended = run_job(3, "stuck");
  EXPECT_EQ(ended.code, 4) << ended.output;
  EXPECT_LT(ended.seconds, promptly);
  EXPECT_THAT(ended.output, HasSubstr("world: barrier did not finish within 2 s on rank"));
}

TEST(JobEnd, RanksThatFinishEarlyWaitForTheLast) {
  const Ended ended = run_job(3, "late");
  EXPECT_EQ(ended.code, 0) << ended.output;
}

}  // namespace
}  // namespace soup
