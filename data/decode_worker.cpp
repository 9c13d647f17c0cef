#include "data/decode_worker.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fstream>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {
namespace {

constexpr int startup_seconds = 60;
constexpr double waiting_factor = 5.0;  // time by the clock over processor time

constexpr std::uint64_t largest_file = 512ULL << 20;  // bytes

enum class Status : std::uint32_t { ready, image, too_small, error };

// What a worker is sent before a job's texts and bytes.
struct Request {
  std::array<std::uint32_t, 5> text_bytes;  // name, path, caption, key, style
  std::uint64_t bytes;
};

// What a worker sends before `text_bytes` bytes of error text. Pixels are in the shared memory.
struct Reply {
  Status status;
  std::uint32_t text_bytes;
  ImageSize size;
  ImageSize original;
  std::array<char, 8> format;  // padded with zeros
  ImageDigests digests;
};

static_assert(std::is_trivially_copyable_v<Reply>);

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

bool send_reply(int socket, Reply reply, std::string_view text = {}) {
  reply.text_bytes = static_cast<std::uint32_t>(text.size());
  return send_all(socket, &reply, sizeof reply) && send_all(socket, text.data(), text.size());
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

bool receive_job(int socket, DecodeJob& job) {
  Request request{};
  if (!receive_all(socket, &request, sizeof request)) {
    return false;
  }
  std::array<std::string, 5> texts;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    texts[i].resize(request.text_bytes[i]);
    if (!receive_all(socket, texts[i].data(), texts[i].size())) {
      return false;
    }
  }
  job = {.name = texts[0],
         .path = texts[1],
         .bytes = {},
         .caption = texts[2],
         .key = texts[3],
         .style = texts[4],
         .error = {}};
  job.bytes.resize(request.bytes);
  return receive_all(socket, job.bytes.data(), job.bytes.size());
}

std::vector<std::byte> read_picture(const std::filesystem::path& path) {
  const FileDescriptor file(path, O_RDONLY | O_NONBLOCK);
  const std::uint64_t bytes = file.size(path);
  if (bytes > largest_file) {
    throw DataError(
        path, "is " + std::to_string(bytes) + " bytes long; at most " + std::to_string(largest_file) + " are decoded");
  }
  std::vector<std::byte> content(bytes);
  file.read_at(0, content, path);
  return content;
}

Reply decode(DecodeJob& job, const DecodeOptions& options, std::span<std::uint8_t> pixels) {
  Reply reply{.status = Status::image, .text_bytes = 0, .size = {}, .original = {}, .format = {}, .digests = {}};
  Image image;
  if (options.picture) {
    if (!job.path.empty()) {
      job.bytes = read_picture(job.path);
    }
    Picture picture = load_picture(job.bytes, job.name, *options.picture);
    std::ranges::copy(picture.format, reply.format.begin());
    reply.original = picture.original;
    if (!picture.image) {
      reply.status = Status::too_small;
      return reply;
    }
    image = std::move(*picture.image);
    reply.digests = digests_of(image, job.caption, job.key, job.style);
  } else {
    image = load_icon(job.path, options.size);
  }
  SOUP_REQUIRE(image.pixels.size() <= pixels.size(), "a decoded image has one of the sizes that were asked for");
  reply.size = {image.height, image.width};
  std::ranges::copy(image.pixels, pixels.begin());
  return reply;
}

[[noreturn]] void worker_main(int socket, const DecodeOptions& options, std::span<std::uint8_t> pixels) {
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
  const Reply failed{.status = Status::error, .text_bytes = 0, .size = {}, .original = {}, .format = {}, .digests = {}};
  Reply ready = failed;
  ready.status = Status::ready;
  bool open = send_reply(socket, ready);
  DecodeJob job;
  while (open && receive_job(socket, job)) {
    try {
      open = send_reply(socket, decode(job, options, pixels));
    } catch (const Error& error) {
      std::string message = error.message();
      for (const std::string& name : {job.name, job.path.string()}) {
        if (message.starts_with(name + ": ")) {  // the reader of the result knows the name
          message.erase(0, name.size() + 2);
        }
      }
      open = send_reply(socket, failed, message);
    } catch (const std::exception& error) {
      open = send_reply(socket, failed, error.what());
    }
  }
  _exit(0);
}

// ---- In the parent. ----

// One of the names that load_picture() gives, or "".
std::string_view format_named(const std::array<char, 8>& text) {
  for (const std::string_view name : {"PNG", "JPEG", "WebP", "SVG"}) {
    if (std::string_view(text.data()) == name) {
      return name;
    }
  }
  return {};
}

DecodeWorker::Clock::duration duration(double seconds) {
  return std::chrono::duration_cast<DecodeWorker::Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

DecodeWorker::DecodeWorker(const DecodeOptions& options, std::uint64_t image_bytes) : pixel_bytes_(image_bytes) {
  void* shared = mmap(nullptr, pixel_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    throw DataError("decoder", "cannot share memory: " + errno_text(errno));
  }
  pixels_ = static_cast<std::uint8_t*>(shared);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    const int error = errno;
    munmap(pixels_, pixel_bytes_);
    throw DataError("decoder", "cannot make a socket: " + errno_text(error));
  }
  process_ = fork();
  const int error = errno;
  if (process_ == 0) {
    close(ends[0]);
    worker_main(ends[1], options, {pixels_, pixel_bytes_});
  }
  close(ends[1]);
  socket_ = ends[0];
  if (process_ < 0) {
    close(socket_);
    munmap(pixels_, pixel_bytes_);
    throw DataError("decoder", "cannot start a process: " + errno_text(error));
  }
  deadline_ = Clock::now() + std::chrono::seconds(startup_seconds);
}

DecodeWorker::~DecodeWorker() {
  end();
  munmap(pixels_, pixel_bytes_);
}

bool DecodeWorker::give(std::size_t number, const DecodeJob& job, double seconds) {
  const std::array<std::string_view, 5> texts{job.name, job.path.native(), job.caption, job.key, job.style};
  Request request{.text_bytes = {}, .bytes = job.bytes.size()};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    request.text_bytes[i] = static_cast<std::uint32_t>(texts[i].size());
  }
  bool sent = send_all(socket_, &request, sizeof request);
  for (const std::string_view text : texts) {
    sent = sent && send_all(socket_, text.data(), text.size());
  }
  if (!sent || !send_all(socket_, job.bytes.data(), job.bytes.size())) {
    return false;
  }
  job_ = number;
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
  Reply reply{};
  if (received_.size() < sizeof reply) {
    return Progress::none;
  }
  std::memcpy(&reply, received_.data(), sizeof reply);
  if (received_.size() < sizeof reply + reply.text_bytes) {
    return Progress::none;
  }
  const std::uint64_t bytes = 3ULL * static_cast<std::uint64_t>(reply.size.height) * reply.size.width;
  SOUP_REQUIRE(bytes <= pixel_bytes_, "a decoder's image has one of the sizes that were asked for");
  if (reply.status == Status::image) {
    result.image = Image{reply.size.height, reply.size.width, 3, {pixels_, pixels_ + bytes}};
    result.digests = reply.digests;
  } else if (reply.status == Status::error) {
    result.error.assign(received_.begin() + sizeof reply, received_.end());
  }
  result.original = reply.original;
  result.format = format_named(reply.format);
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
