#include "data/decode_pool.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "data/decode_worker.hpp"

namespace soup {
namespace {

using Clock = DecodeWorker::Clock;

constexpr std::uint64_t waiting_bytes = 64U << 20;
constexpr int failed_starts_allowed = 3;

class Pool {
 public:
  Pool(std::span<const std::filesystem::path> paths, const DecodeOptions& options) : paths_(paths), options_(options) {
    const std::uint64_t image_bytes = 3ULL * static_cast<std::uint64_t>(options.size) * options.size;
    window_ = std::clamp<std::uint64_t>(waiting_bytes / image_bytes, 2ULL * options.workers, 4096);
    const auto count = std::min<std::size_t>(static_cast<std::size_t>(options.workers), paths.size());
    for (std::size_t i = 0; i < count; ++i) {
      workers_.push_back(std::make_unique<DecodeWorker>(options_));
    }
  }

  // Results in order; each index is asked for once.
  Decoded take(std::size_t index) {
    while (!waiting_.contains(index)) {
      dispatch(index);
      wait();
    }
    auto node = waiting_.extract(index);
    return std::move(node.mapped());
  }

 private:
  void dispatch(std::size_t oldest) {
    for (auto& worker : workers_) {
      if (next_ >= paths_.size() || next_ >= oldest + window_) {
        return;
      }
      if (!worker->idle()) {
        continue;
      }
      if (worker->give(next_, paths_[next_], options_.seconds_per_image)) {
        ++next_;
      } else {
        worker = std::make_unique<DecodeWorker>(options_);
      }
    }
  }

  void wait() {
    std::vector<pollfd> polled;
    Clock::time_point nearest = Clock::time_point::max();
    for (const auto& worker : workers_) {
      polled.push_back({worker->socket(), POLLIN, 0});
      if (!worker->idle()) {
        nearest = std::min(nearest, worker->deadline());
      }
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(nearest - Clock::now()).count();
    if (poll(polled.data(), polled.size(), static_cast<int>(std::clamp<std::int64_t>(left, 0, 60000))) < 0 &&
        errno != EINTR) {
      throw DataError("decoder", "cannot wait for its processes: " + errno_text(errno));
    }
    for (std::unique_ptr<DecodeWorker>& worker : workers_) {
      Decoded result;
      const std::optional<std::size_t> job = worker->job();
      const DecodeWorker::Progress progress = worker->receive(result);
      if (progress == DecodeWorker::Progress::replied) {
        waiting_.emplace(*job, std::move(result));
      } else if (progress == DecodeWorker::Progress::dead) {
        replace(worker, "the decoder crashed (", ")");
      } else if (worker->overdue()) {
        char seconds[32];
        std::snprintf(seconds, sizeof seconds, "%g", options_.seconds_per_image);
        replace(worker, std::string("not decoded within ") + seconds + " s", {});
      }
    }
  }

  // `what` is the image's error; with a `closing` the way the process ended is put between them.
  void replace(std::unique_ptr<DecodeWorker>& worker, std::string what, const std::string& closing) {
    const std::optional<std::size_t> job = worker->job();
    const bool started = worker->ready();
    const std::string how = worker->end();
    if (!closing.empty()) {
      what += how + closing;
    }
    if (job) {
      waiting_.emplace(*job, Decoded{std::nullopt, what});
    } else if (!started && ++failed_starts_ > failed_starts_allowed) {
      throw DataError("decoder", "its processes do not start (" + how + ")", "is the machine short of memory?");
    }
    worker = std::make_unique<DecodeWorker>(options_);
  }

  std::span<const std::filesystem::path> paths_;
  DecodeOptions options_;
  std::size_t window_ = 0;
  std::size_t next_ = 0;  // first path not yet given out
  int failed_starts_ = 0;
  std::vector<std::unique_ptr<DecodeWorker>> workers_;
  std::map<std::size_t, Decoded> waiting_;
};

}  // namespace

void decode_in_order(std::span<const std::filesystem::path> paths, const DecodeOptions& options,
                     const std::function<bool(std::size_t index, Decoded result)>& consume) {
  SOUP_REQUIRE(options.size > 0 && options.workers > 0 && options.seconds_per_image > 0, "decode options are positive");
  SOUP_REQUIRE(!decoder_started(), "decode_in_order() runs before load_icon() is called in the same process");
  Pool pool(paths, options);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (!consume(i, pool.take(i))) {
      return;
    }
  }
}

}  // namespace soup
