// Stop signals: the first sets the flag, the second of a kind ends the process.
#include "core/signals.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

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

TEST_P(StopSignal, SecondOfTheKindEndsTheProcess) {
  const auto child = [] {
    install_stop_signals();
    std::raise(GetParam());
    std::raise(GetParam());
    std::_Exit(0);
  };
  EXPECT_EXIT(child(), testing::KilledBySignal(GetParam()), "");
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
