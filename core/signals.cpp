#include "core/signals.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {

namespace {

constexpr std::array<int, 3> stop_signals = {SIGTERM, SIGINT, SIGUSR1};
constexpr std::int64_t same_request_ns = 1'000'000'000;

// A signal handler can reach nothing but a global.
std::atomic<bool> g_stop_requested = false;
std::array<std::atomic<std::int64_t>, stop_signals.size()> g_first_ns = {};  // of each kind; 0: none yet
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free,
              "the handler may only touch lock-free atomics");

extern "C" void request_stop(int signal) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t now_ns = std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  const auto kind = static_cast<std::size_t>(std::ranges::find(stop_signals, signal) - stop_signals.begin());
  std::int64_t first_ns = 0;
  if (!g_first_ns[kind].compare_exchange_strong(first_ns, now_ns) && now_ns - first_ns > same_request_ns) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);  // which waits until this handler returns
  }
  g_stop_requested.store(true, std::memory_order_relaxed);
}

}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = request_stop;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : stop_signals) {
    SOUP_REQUIRE(sigaction(signal, &action, nullptr) == 0, "sigaction failed: " + errno_text(errno));
  }
}

bool stop_requested() noexcept {
  return g_stop_requested.load(std::memory_order_relaxed);
}

}  // namespace soup
