#include "data/decode_worker.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fstream>
#include <utility>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {
namespace {

constexpr int startup_seconds = 60;
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

DecodeWorker::Clock::duration duration(double seconds) {
  return std::chrono::duration_cast<DecodeWorker::Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

DecodeWorker::DecodeWorker(const DecodeOptions& options) : size_(options.size) {
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

bool DecodeWorker::give(std::size_t job, const std::filesystem::path& path, double seconds) {
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

bool DecodeWorker::overdue() {
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

DecodeWorker::Progress DecodeWorker::receive(Decoded& result) {
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

std::string DecodeWorker::end() {
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

double DecodeWorker::processor_seconds() const {
  clockid_t clock = 0;
  timespec time{};
  if (clock_getcpuclockid(process_, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    return 0.0;
  }
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace soup
