// Stop signals: the first sets the flag, a later one of its kind ends the process.
#include "core/signals.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

namespace soup {
namespace {

class StopSignal : public testing::TestWithParam<int> {};

TEST_P(StopSignal, FirstSetsTheFlag) {
  const auto child = [] {
    install_stop_signals();
    const bool before = stop_requested();
    std::raise(GetParam());
    std::_Exit(!before && stop_requested() ? 0 : 1);
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(0), "");
}

TEST_P(StopSignal, ALaterOneOfTheKindEndsTheProcess) {
  const auto child = [] {
    install_stop_signals();
    std::raise(GetParam());
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    std::raise(GetParam());
    std::_Exit(0);
  };
  EXPECT_EXIT(child(), testing::KilledBySignal(GetParam()), "");
}

// timeout(1) signals its child and then the group, which the child is in.
TEST_P(StopSignal, TwoAtOnceAreOneRequest) {
  const auto child = [] {
    install_stop_signals();
    std::raise(GetParam());
    std::raise(GetParam());
    std::_Exit(stop_requested() ? 0 : 1);
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(0), "");
}

INSTANTIATE_TEST_SUITE_P(All, StopSignal, testing::Values(SIGTERM, SIGINT, SIGUSR1));

TEST(StopSignals, AnotherKindIsNotTheSecond) {
  const auto child = [] {
    install_stop_signals();
    std::raise(SIGUSR1);
    std::raise(SIGTERM);
    std::_Exit(stop_requested() ? 0 : 1);
  };
  EXPECT_EXIT(child(), testing::ExitedWithCode(0), "");
}

TEST(StopSignals, NothingIsRequestedWithoutASignal) {
  EXPECT_FALSE(stop_requested());
}

}  // namespace
}  // namespace soup
