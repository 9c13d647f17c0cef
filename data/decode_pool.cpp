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

// Pixels of the largest result.
std::uint64_t image_bytes(const DecodeOptions& options) {
  std::uint64_t most = 3ULL * static_cast<std::uint64_t>(options.size) * options.size;
  if (options.picture) {
    most = 0;
    for (const ImageSize& size : options.picture->sizes) {
      most = std::max<std::uint64_t>(most, 3ULL * static_cast<std::uint64_t>(size.height) * size.width);
    }
  }
  return most;
}

class Pool {
 public:
  Pool(const std::function<std::optional<DecodeJob>()>& next_job, const DecodeOptions& options)
      : next_job_(next_job), options_(options), image_bytes_(image_bytes(options)) {
    window_ = std::clamp<std::uint64_t>(waiting_bytes / image_bytes_, 2ULL * options.workers, 4096);
  }

  // Results in order; nothing behind the last one. Each index is asked for once.
  std::optional<Decoded> take(std::size_t index) {
    while (!waiting_.contains(index)) {
      dispatch(index);
      if (waiting_.contains(index)) {
        break;
      }
      if (ended_ && index >= next_) {
        return std::nullopt;
      }
      wait();
    }
    auto node = waiting_.extract(index);
    return std::move(node.mapped());
  }

 private:
  // Gives a job to each idle worker. The first jobs start the workers: a source of two images needs no more.
  void dispatch(std::size_t oldest) {
    while (!ended_ && next_ < oldest + window_) {
      if (next_ >= workers_.size() && std::ssize(workers_) < options_.workers) {
        workers_.push_back(std::make_unique<DecodeWorker>(options_, image_bytes_));
      }
      const auto idle = std::ranges::find_if(workers_, [](const auto& worker) { return worker->idle(); });
      if (idle == workers_.end() && !kept_) {
        return;
      }
      if (!kept_) {
        kept_ = next_job_();
      }
      if (!kept_) {
        ended_ = true;
      } else if (!kept_->error.empty()) {
        waiting_.emplace(next_++, Decoded{.error = std::move(kept_->error)});
        kept_.reset();
      } else if (idle == workers_.end()) {
        return;
      } else if ((*idle)->give(next_, *kept_, options_.seconds_per_image)) {
        ++next_;
        kept_.reset();
      } else {
        *idle = std::make_unique<DecodeWorker>(options_, image_bytes_);
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
      waiting_.emplace(*job, Decoded{.error = what});
    } else if (!started && ++failed_starts_ > failed_starts_allowed) {
      throw DataError("decoder", "its processes do not start (" + how + ")", "is the machine short of memory?");
    }
    worker = std::make_unique<DecodeWorker>(options_, image_bytes_);
  }

  const std::function<std::optional<DecodeJob>()>& next_job_;
  DecodeOptions options_;
  std::uint64_t image_bytes_;
  std::size_t window_ = 0;
  std::size_t next_ = 0;           // number of the next job
  std::optional<DecodeJob> kept_;  // that job, when its worker had died
  bool ended_ = false;             // there is no next job
  int failed_starts_ = 0;
  std::vector<std::unique_ptr<DecodeWorker>> workers_;
  std::map<std::size_t, Decoded> waiting_;
};

}  // namespace

void decode_stream(const std::function<std::optional<DecodeJob>()>& next, const DecodeOptions& options,
                   const std::function<bool(std::size_t index, Decoded result)>& consume) {
  SOUP_REQUIRE(options.size > 0 && options.workers > 0 && options.seconds_per_image > 0, "decode options are positive");
  SOUP_REQUIRE(!decoder_started(), "a decode pool runs before load_icon() is called in the same process");
  Pool pool(next, options);
  for (std::size_t i = 0;; ++i) {
    std::optional<Decoded> decoded = pool.take(i);
    if (!decoded || !consume(i, std::move(*decoded))) {
      return;
    }
  }
}

void decode_in_order(std::span<const std::filesystem::path> paths, const DecodeOptions& options,
                     const std::function<bool(std::size_t index, Decoded result)>& consume) {
  std::size_t given = 0;
  const auto next = [&]() -> std::optional<DecodeJob> {
    if (given == paths.size()) {
      return std::nullopt;
    }
    DecodeJob job;
    job.path = paths[given++];
    job.name = job.path.string();
    return job;
  };
  decode_stream(next, options, consume);
}

}  // namespace soup
