// The watchdog: it names what hangs, leaves alone what ends in time, and guards every call of a communicator.
#include "launch/watchdog.hpp"

#include <gmock/gmock.h>

#include <future>
#include <thread>

#include "core/error.hpp"
#include "launch/communicator.hpp"

namespace soup {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Watchdog, ExpiresOnceNamingNestedGuards) {
  std::promise<std::string> expired;
  std::future<std::string> operation = expired.get_future();
  Watchdog watchdog(1s, [&](const std::string& name) { expired.set_value(name); });
  const Watchdog::Guard outer(watchdog, "soup");
  { const Watchdog::Guard ended(watchdog, "ended"); }
  const Watchdog::Guard inner(watchdog, "group: barrier");
  ASSERT_EQ(operation.wait_for(10s), std::future_status::ready);
  EXPECT_EQ(operation.get(), "soup > group: barrier");
}

TEST(Watchdog, NeedsAGuardThatLivesPastTheDeadline) {
  bool expired = false;
  {
    Watchdog watchdog(1s, [&](const std::string&) { expired = true; });
    for (int i = 0; i < 15; ++i) {
      const Watchdog::Guard guard(watchdog, "short");
      std::this_thread::sleep_for(100ms);
    }
  }
  EXPECT_FALSE(expired);
}

TEST(Watchdog, DeadlineZeroNeverExpiresAndNegativeIsRefused) {
  bool expired = false;
  {
    Watchdog watchdog(0s, [&](const std::string&) { expired = true; });
    const Watchdog::Guard guard(watchdog, "long");
    std::this_thread::sleep_for(300ms);
  }
  EXPECT_FALSE(expired);
  EXPECT_THROW(Watchdog(-1s), ConfigError);
}

TEST(WatchdogDeathTest, DefaultEndNamesOperationRankHostAndSecondsWithCode4) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        Watchdog watchdog(1s);
        const Watchdog::Guard guard(watchdog, "soup: all_reduce_sum of 8 int64");
        std::this_thread::sleep_for(20s);
      },
      testing::ExitedWithCode(4), "all_reduce_sum of 8 int64 did not finish within 1 s on rank 0 \\(host .+\\)");
}

// A communicator whose every call hangs for a while.
class StuckSum final : public PendingSum {
 public:
  bool test() override { return false; }
  void wait() override { std::this_thread::sleep_for(1500ms); }
};

class Stuck final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  [[nodiscard]] std::string_view backend() const override { return "stuck"; }
  void all_reduce_sum(std::span<float>) override { hang(); }
  void all_reduce_sum(std::span<double>) override { hang(); }
  void all_reduce_sum(std::span<std::int64_t>) override { hang(); }
  [[nodiscard]] std::unique_ptr<PendingSum> start_sum(std::span<float>) override {
    return std::make_unique<StuckSum>();
  }
  void all_reduce_max(std::span<double>) override { hang(); }
  void all_reduce_max(std::span<std::int64_t>) override { hang(); }
  void all_gather(std::span<const std::byte>, std::span<std::byte>) override { hang(); }
  void broadcast(std::span<std::byte>, int) override { hang(); }
  void barrier() override { hang(); }
  [[nodiscard]] std::unique_ptr<Communicator> split(int, int) override { return std::make_unique<Stuck>(); }

 private:
  static void hang() { std::this_thread::sleep_for(1500ms); }
};

template <typename Call>
std::string expired_operation(Call call) {
  std::promise<std::string> expired;
  std::future<std::string> operation = expired.get_future();
  const auto watchdog = std::make_shared<Watchdog>(1s, [&](const std::string& name) { expired.set_value(name); });
  const auto comm = watched(std::make_unique<Stuck>(), watchdog, "group");
  call(*comm);
  return operation.wait_for(0s) == std::future_status::ready ? operation.get() : "";
}

TEST(WatchedCommunicator, EveryCallRunsUnderTheWatchdog) {
  std::vector<float> floats(3);
  std::vector<double> doubles(4);
  std::vector<std::int64_t> integers(5);
  std::vector<std::byte> bytes(6);
  std::vector<std::function<void(Communicator&)>> calls{
      [&](Communicator& comm) { comm.all_reduce_sum(std::span(floats)); },
      [&](Communicator& comm) { comm.all_reduce_sum(std::span(doubles)); },
      [&](Communicator& comm) { comm.all_reduce_sum(std::span(integers)); },
      [&](Communicator& comm) { comm.all_reduce_max(std::span(doubles)); },
      [&](Communicator& comm) { comm.all_reduce_max(std::span(integers)); },
      [&](Communicator& comm) { comm.all_gather(bytes, bytes); },
      [&](Communicator& comm) { comm.broadcast(bytes, 0); },
      [&](Communicator& comm) { comm.barrier(); },
      [&](Communicator& comm) { comm.split(7, 0)->barrier(); },
  };
  const std::vector<std::string> names{"group: all_reduce_sum of 3 floats",
                                       "group: all_reduce_sum of 4 doubles",
                                       "group: all_reduce_sum of 5 int64",
                                       "group: all_reduce_max of 4 doubles",
                                       "group: all_reduce_max of 5 int64",
                                       "group: all_gather of 6 bytes",
                                       "group: broadcast of 6 bytes",
                                       "group: barrier",
                                       "group/7: barrier"};
  std::vector<std::future<std::string>> operations;
  for (const auto& call : calls) {
    operations.push_back(std::async(std::launch::async, [&call] { return expired_operation(call); }));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(operations[i].get(), names[i]);
  }
}

}  // namespace
}  // namespace soup
