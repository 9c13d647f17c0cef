// Turns a hang into an end: the watching thread, and the communicator that guards each of its calls.
#include "launch/watchdog.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/process_identity.hpp"
#include "core/signals.hpp"
#include "launch/communicator.hpp"
#include "launch/mpi_runtime.hpp"

namespace soup {

using Clock = std::chrono::steady_clock;

struct Watchdog::Impl {
  struct Watch {
    std::uint64_t id = 0;
    std::string operation;
    Clock::time_point start;
  };

  std::chrono::seconds deadline;
  int rank = 0;
  std::function<void(const std::string&)> on_expiry;
  std::mutex mutex;
  std::condition_variable stop_changed;
  bool stop = false;
  std::optional<Clock::time_point> stop_seen;
  bool stop_said = false;
  std::uint64_t next_id = 1;
  std::vector<Watch> watches;  // in order of start: the first is the oldest
  std::thread thread;

  [[nodiscard]] std::string operations() const {
    std::string text;
    for (const Watch& watch : watches) {
      text += (text.empty() ? "" : " > ") + watch.operation;
    }
    return text;
  }

  // Launchers answer the death of a rank with SIGTERM to the others, and with SIGKILL a second later: only in between
  // can be said what they were waiting in. A rank that is merely asked to stop is out of its collective by then.
  void look_at_stop() {
    constexpr auto patience = std::chrono::milliseconds(400);
    if (stop_said || !stop_requested()) {
      return;
    }
    const Clock::time_point now = Clock::now();
    stop_seen = stop_seen.value_or(now);
    if (now - *stop_seen >= patience) {
      stop_said = true;
      if (!watches.empty() && watches.front().start < *stop_seen) {
        const std::string text = fmt::format(
            "soup: rank {} (host {}) was asked to stop while it waited for other ranks in {}: if one of them died, "
            "that is where\n",
            rank, host_name(), operations());
        std::fwrite(text.data(), 1, text.size(), stderr);
      }
    }
  }

  // Looks a few times a second instead of being woken by every guard: a guard then costs two short locks.
  void watch() {
    constexpr auto interval = std::chrono::milliseconds(100);
    const bool expires = deadline > std::chrono::seconds(0);
    std::unique_lock lock(mutex);
    while (!stop_changed.wait_for(lock, interval, [this] { return stop; })) {
      look_at_stop();
      if (!expires || watches.empty() || Clock::now() - watches.front().start < deadline) {
        continue;
      }
      const std::string operation = operations();
      lock.unlock();
      on_expiry(operation);
      return;
    }
  }
};

Watchdog::Watchdog(std::chrono::seconds deadline, std::function<void(const std::string& operation)> on_expiry)
    : impl_(std::make_unique<Impl>()) {
  if (deadline < std::chrono::seconds(0)) {
    throw ConfigError(fmt::format("the watchdog's deadline is {} s, but it cannot be negative", deadline.count()),
                      "0 switches it off");
  }
  impl_->deadline = deadline;
  // The rank is asked for here, on the thread that MPI allows to call it.
  impl_->rank = job_rank();
  impl_->on_expiry = std::move(on_expiry);
  if (!impl_->on_expiry) {
    impl_->on_expiry = [rank = impl_->rank, deadline](const std::string& operation) {
      const std::string text = fmt::format(
          "soup: error: {} did not finish within {} s on rank {} (host {}): another rank has stopped or the network "
          "hangs; the job is ended\n  hint: launch.deadline_seconds sets the limit, 0 switches it off\n",
          operation, deadline.count(), rank, host_name());
      std::fwrite(text.data(), 1, text.size(), stderr);
      abort_job(static_cast<int>(ExitCode::communication));
    };
  }
  impl_->thread = std::thread([this] { impl_->watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->stop_changed.notify_all();
  impl_->thread.join();
}

Watchdog::Guard::Guard(Watchdog& watchdog, std::string operation) : watchdog_(watchdog) {
  Impl& impl = *watchdog_.impl_;
  const std::lock_guard lock(impl.mutex);
  id_ = impl.next_id++;
  impl.watches.push_back({id_, std::move(operation), Clock::now()});
}

Watchdog::Guard::~Guard() {
  Impl& impl = *watchdog_.impl_;
  const std::lock_guard lock(impl.mutex);
  std::erase_if(impl.watches, [this](const Impl::Watch& watch) { return watch.id == id_; });
}

namespace {

// Under the watchdog from the start to the end of the wait.
class WatchedSum final : public PendingSum {
 public:
  WatchedSum(std::unique_ptr<PendingSum> inner, Watchdog& watchdog, std::string operation)
      : inner_(std::move(inner)), guard_(std::in_place, watchdog, std::move(operation)) {}

  bool test() override { return inner_->test(); }
  void wait() override {
    inner_->wait();
    guard_.reset();
  }

 private:
  std::unique_ptr<PendingSum> inner_;
  std::optional<Watchdog::Guard> guard_;
};

class WatchedCommunicator final : public Communicator {
 public:
  WatchedCommunicator(std::unique_ptr<Communicator> inner, std::shared_ptr<Watchdog> watchdog, std::string name)
      : inner_(std::move(inner)), watchdog_(std::move(watchdog)), name_(std::move(name)) {}

  [[nodiscard]] int rank() const override { return inner_->rank(); }
  [[nodiscard]] int size() const override { return inner_->size(); }
  [[nodiscard]] std::string_view backend() const override { return inner_->backend(); }

  void all_reduce_sum(std::span<float> values) override {
    const auto guard = watch("all_reduce_sum of {} floats", values.size());
    inner_->all_reduce_sum(values);
  }
  void all_reduce_sum(std::span<double> values) override {
    const auto guard = watch("all_reduce_sum of {} doubles", values.size());
    inner_->all_reduce_sum(values);
  }
  void all_reduce_sum(std::span<std::int64_t> values) override {
    const auto guard = watch("all_reduce_sum of {} int64", values.size());
    inner_->all_reduce_sum(values);
  }
  [[nodiscard]] bool takes_gpu_memory() const override { return inner_->takes_gpu_memory(); }
  [[nodiscard]] std::unique_ptr<PendingSum> start_sum(std::span<float> values) override {
    return std::make_unique<WatchedSum>(inner_->start_sum(values), *watchdog_,
                                        fmt::format("{}: sum of {} floats", name_, values.size()));
  }
  void all_reduce_max(std::span<double> values) override {
    const auto guard = watch("all_reduce_max of {} doubles", values.size());
    inner_->all_reduce_max(values);
  }
  void all_reduce_max(std::span<std::int64_t> values) override {
    const auto guard = watch("all_reduce_max of {} int64", values.size());
    inner_->all_reduce_max(values);
  }
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    const auto guard = watch("all_gather of {} bytes", mine.size());
    inner_->all_gather(mine, all);
  }
  void broadcast(std::span<std::byte> bytes, int root) override {
    const auto guard = watch("broadcast of {} bytes", bytes.size());
    inner_->broadcast(bytes, root);
  }
  void barrier() override {
    const auto guard = watch("barrier", 0);
    inner_->barrier();
  }
  [[nodiscard]] std::unique_ptr<Communicator> split(int colour, int key) override {
    const auto guard = watch("split", 0);
    return watched(inner_->split(colour, key), watchdog_, fmt::format("{}/{}", name_, colour));
  }

 private:
  [[nodiscard]] Watchdog::Guard watch(std::string_view call, std::size_t count) {
    return {*watchdog_, name_ + ": " + fmt::format(fmt::runtime(call), count)};
  }

  std::unique_ptr<Communicator> inner_;
  std::shared_ptr<Watchdog> watchdog_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Communicator> watched(std::unique_ptr<Communicator> inner, std::shared_ptr<Watchdog> watchdog,
                                      std::string name) {
  return std::make_unique<WatchedCommunicator>(std::move(inner), std::move(watchdog), std::move(name));
}

}  // namespace soup
