#include "data/decode_pool.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t waiting_bytes = 64U << 20;
constexpr int startup_seconds = 60;
constexpr int failed_starts_allowed = 3;
constexpr double waiting_factor = 5.0;  // time by the clock over processor time

enum class Status : std::uint32_t { ready, image, error };

// What a worker sends before `bytes` bytes of pixels or error text.
struct Header {
  Status status;
  std::uint32_t bytes;
};

// ---- In the worker. Between fork and _exit nothing of the parent's is used but its code: no MPI, HDF5 or log. ----

bool send_all(int socket, const void* data, std::size_t bytes) {
  const auto* at = static_cast<const std::uint8_t*>(data);
  while (bytes > 0) {
    const ssize_t sent = send(socket, at, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno != EINTR) {
      return false;
    }
    at += std::max<ssize_t>(sent, 0);
    bytes -= static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
  }
  return true;
}

bool send_reply(int socket, Status status, const void* data, std::size_t bytes) {
  const Header header{status, static_cast<std::uint32_t>(bytes)};
  return send_all(socket, &header, sizeof header) && send_all(socket, data, bytes);
}

bool receive_all(int socket, void* data, std::size_t bytes) {
  auto* at = static_cast<std::uint8_t*>(data);
  while (bytes > 0) {
    const ssize_t got = recv(socket, at, bytes, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) {
      return false;
    }
    at += std::max<ssize_t>(got, 0);
    bytes -= static_cast<std::size_t>(std::max<ssize_t>(got, 0));
  }
  return true;
}

void limit_memory(std::uint64_t bytes) {
  std::uint64_t inherited_pages = 0;
  std::ifstream("/proc/self/statm") >> inherited_pages;
  const rlim_t limit = inherited_pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)) + bytes;
  const rlimit address_space{limit, limit};
  setrlimit(RLIMIT_AS, &address_space);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
}

// Leaves only `socket` open, as descriptor 3: a worker holds no file, lock or connection of its parent.
int keep_only(int socket) {
  const int null = open("/dev/null", O_RDWR);
  for (int standard = 0; standard <= 2; ++standard) {
    dup2(null, standard);
  }
  if (socket != 3) {
    dup2(socket, 3);
  }
  close_range(4, ~0U, 0);
  return 3;
}

[[noreturn]] void worker_main(int socket, const DecodeOptions& options) {
  // Ctrl-C reaches the whole foreground group; only the parent decides, and its end is the worker's.
  for (const int number : {SIGINT, SIGUSR1, SIGHUP}) {
    signal(number, SIG_IGN);
  }
  for (const int number : {SIGTERM, SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGCHLD}) {
    signal(number, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  socket = keep_only(socket);
  limit_memory(options.memory_bytes);
  bool open = send_reply(socket, Status::ready, nullptr, 0);
  std::uint32_t path_bytes = 0;
  while (open && receive_all(socket, &path_bytes, sizeof path_bytes)) {
    std::string path(path_bytes, '\0');
    if (!receive_all(socket, path.data(), path.size())) {
      break;
    }
    try {
      const Image image = load_icon(path, options.size);
      open = send_reply(socket, Status::image, image.pixels.data(), image.pixels.size());
    } catch (const Error& error) {
      std::string message = error.message();
      if (message.starts_with(path + ": ")) {  // the reader of the result knows the path
        message.erase(0, path.size() + 2);
      }
      open = send_reply(socket, Status::error, message.data(), message.size());
    } catch (const std::exception& error) {
      open = send_reply(socket, Status::error, error.what(), std::strlen(error.what()));
    }
  }
  _exit(0);
}

// ---- In the parent. ----

class Worker {
 public:
  explicit Worker(const DecodeOptions& options) : size_(options.size) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      throw DataError("decoder", "cannot make a socket: " + errno_text(errno));
    }
    process_ = fork();
    const int error = errno;
    if (process_ == 0) {
      close(ends[0]);
      worker_main(ends[1], options);
    }
    close(ends[1]);
    socket_ = ends[0];
    if (process_ < 0) {
      close(socket_);
      throw DataError("decoder", "cannot start a process: " + errno_text(error));
    }
    deadline_ = Clock::now() + std::chrono::seconds(startup_seconds);
  }
  ~Worker() { end(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] int socket() const { return socket_; }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] bool idle() const { return ready_ && !job_; }
  [[nodiscard]] std::optional<std::size_t> job() const { return job_; }
  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }

  // False when the worker has died since its last reply.
  bool give(std::size_t job, const std::filesystem::path& path, double seconds) {
    const std::string& text = path.native();
    const auto bytes = static_cast<std::uint32_t>(text.size());
    if (!send_all(socket_, &bytes, sizeof bytes) || !send_all(socket_, text.data(), text.size())) {
      return false;
    }
    job_ = job;
    seconds_ = seconds;
    started_ = Clock::now();
    processor_started_ = processor_seconds();
    deadline_ = started_ + duration(seconds);
    return true;
  }

  // Whether the time of what it is doing is up. An image's time is the processor's, so that a busy machine does not
  // change what is imported; one that waits for something (a pipe, a dead file server) has a longer time by the clock.
  bool overdue() {
    const Clock::time_point now = Clock::now();
    if (idle() || now < deadline_) {
      return false;
    }
    const double used = processor_seconds() - processor_started_;
    if (!job_ || used >= seconds_ || now >= started_ + duration(waiting_factor * seconds_)) {
      return true;
    }
    deadline_ = std::min(now + duration(seconds_ - used), started_ + duration(waiting_factor * seconds_));
    return false;
  }

  enum class Progress { none, replied, dead };

  // Takes what has arrived, without waiting; `result` is set when the reply to the job is whole.
  Progress receive(Decoded& result) {
    std::uint8_t block[1 << 14];
    const ssize_t got = recv(socket_, block, sizeof block, MSG_DONTWAIT);
    if (got <= 0) {
      return got < 0 && (errno == EAGAIN || errno == EINTR) ? Progress::none : Progress::dead;
    }
    received_.insert(received_.end(), block, block + got);
    Header header{};
    if (received_.size() < sizeof header) {
      return Progress::none;
    }
    std::memcpy(&header, received_.data(), sizeof header);
    if (received_.size() < sizeof header + header.bytes) {
      return Progress::none;
    }
    const auto content = received_.begin() + sizeof header;
    if (header.status == Status::image) {
      result.image = Image{size_, size_, 3, {content, received_.end()}};
    } else if (header.status == Status::error) {
      result.error.assign(content, received_.end());
    }
    received_.clear();
    ready_ = true;
    return std::exchange(job_, std::nullopt) ? Progress::replied : Progress::none;
  }

  // Ends the process and says how it ended: its own signal if it had already crashed.
  std::string end() {
    if (process_ < 0) {
      return {};
    }
    close(socket_);
    kill(process_, SIGKILL);
    int status = 0;
    while (waitpid(process_, &status, 0) < 0 && errno == EINTR) {
    }
    process_ = -1;
    if (WIFSIGNALED(status)) {
      return "signal " + std::to_string(WTERMSIG(status)) + ", " + strsignal(WTERMSIG(status));
    }
    return "exit code " + std::to_string(WEXITSTATUS(status));
  }

 private:
  static Clock::duration duration(double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

  // Used by the process so far; 0 when it has ended.
  [[nodiscard]] double processor_seconds() const {
    clockid_t clock = 0;
    timespec time{};
    if (clock_getcpuclockid(process_, &clock) != 0 || clock_gettime(clock, &time) != 0) {
      return 0.0;
    }
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }

  int size_;
  pid_t process_ = -1;
  int socket_ = -1;
  bool ready_ = false;
  std::optional<std::size_t> job_;
  double seconds_ = 0.0;
  double processor_started_ = 0.0;
  Clock::time_point started_;
  Clock::time_point deadline_;
  std::vector<std::uint8_t> received_;
};

class Pool {
 public:
  Pool(std::span<const std::filesystem::path> paths, const DecodeOptions& options) : paths_(paths), options_(options) {
    const std::uint64_t image_bytes = 3ULL * static_cast<std::uint64_t>(options.size) * options.size;
    window_ = std::clamp<std::uint64_t>(waiting_bytes / image_bytes, 2ULL * options.workers, 4096);
    const auto count = std::min<std::size_t>(static_cast<std::size_t>(options.workers), paths.size());
    for (std::size_t i = 0; i < count; ++i) {
      workers_.push_back(std::make_unique<Worker>(options_));
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
        worker = std::make_unique<Worker>(options_);
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
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      Decoded result;
      const std::optional<std::size_t> job = workers_[i]->job();
      const Worker::Progress progress = workers_[i]->receive(result);
      if (progress == Worker::Progress::replied) {
        waiting_.emplace(*job, std::move(result));
      } else if (progress == Worker::Progress::dead) {
        replace(workers_[i], "the decoder crashed (", ")");
      } else if (workers_[i]->overdue()) {
        char seconds[32];
        std::snprintf(seconds, sizeof seconds, "%g", options_.seconds_per_image);
        replace(workers_[i], std::string("not decoded within ") + seconds + " s", {});
      }
    }
  }

  // `what` is the image's error; with a `closing` the way the process ended is put between them.
  void replace(std::unique_ptr<Worker>& worker, std::string what, const std::string& closing) {
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
    worker = std::make_unique<Worker>(options_);
  }

  std::span<const std::filesystem::path> paths_;
  DecodeOptions options_;
  std::size_t window_ = 0;
  std::size_t next_ = 0;  // first path not yet given out
  int failed_starts_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
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
