#include "core/signals.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {

namespace {

// A signal handler can reach nothing but a global.
std::atomic<bool> g_stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "the handler may only touch lock-free atomics");

extern "C" void request_stop(int /*signal*/) {
  g_stop_requested.store(true, std::memory_order_relaxed);
}

}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = request_stop;
  // RESETHAND: the second signal of a kind meets the default action, which ends the process.
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    SOUP_REQUIRE(sigaction(signal, &action, nullptr) == 0, "sigaction failed: " + errno_text(errno));
  }
}

bool stop_requested() noexcept {
  return g_stop_requested.load(std::memory_order_relaxed);
}

}  // namespace soup
