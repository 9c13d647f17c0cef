// Another program run as a child until it ends, its output caught.
#include "core/child_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/signals.hpp"

extern char** environ;  // NOLINT: POSIX declares it nowhere

namespace soup {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kept_output = std::size_t{16} << 20;
constexpr std::size_t kept_errors = std::size_t{64} << 10;
constexpr int look_around_ms = 50;  // how often the child, the clock and the stop signal are looked at
constexpr std::chrono::seconds patience{5};

// The end that is read from, and the one for the child.
struct Pipe {
  explicit Pipe(const std::string& program) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw DataError(program, "no pipe for its output: " + errno_text(errno));
    }
    read_end = FileDescriptor(ends[0]);
    write_end = FileDescriptor(ends[1]);
  }

  // Takes what there is, without waiting.
  void drain(std::string& text, std::size_t kept) {
    std::array<char, 65536> block{};
    while (is_open) {
      const ssize_t count = ::read(read_end.get(), block.data(), block.size());
      if (count > 0) {
        text.append(block.data(), static_cast<std::size_t>(count));
        if (text.size() > 2 * kept) {
          text.erase(0, text.size() - kept);
        }
      } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
        is_open = false;
      } else if (errno == EAGAIN) {
        return;
      }
    }
  }

  FileDescriptor read_end;
  FileDescriptor write_end;
  bool is_open = true;
};

pid_t start(const ChildProgram& program, const Pipe& output, const Pipe& errors) {
  std::vector<std::string> arguments = program.arguments;
  std::vector<std::string> environment = program.environment;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  pid_t child = 0;
  int failure = ::posix_spawn_file_actions_init(&actions);
  if (failure == 0) {
    failure = ::posix_spawnattr_init(&attributes);
    const auto then = [&failure](int result) { failure = failure == 0 ? result : failure; };
    then(::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP));
    then(::posix_spawnattr_setpgroup(&attributes, 0));
    then(::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0));
    then(::posix_spawn_file_actions_adddup2(&actions, output.write_end.get(), STDOUT_FILENO));
    then(::posix_spawn_file_actions_adddup2(&actions, errors.write_end.get(), STDERR_FILENO));
    if (failure == 0) {
      failure = ::posix_spawnp(&child, arguments.front().c_str(), &actions, &attributes,
                               argument_pointers(arguments).data(), argument_pointers(environment).data());
    }
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  if (failure != 0) {
    throw DataError(program.arguments.front(), "cannot be started: " + errno_text(failure), program.hint);
  }
  return child;
}

// Ends the child's group in steps, from the first call on.
class Ending {
 public:
  explicit Ending(pid_t group) : group_(group) {}

  void push() {
    if (!asked_) {
      asked_ = true;
      deadline_ = Clock::now() + patience;
      ::kill(-group_, SIGTERM);
    } else if (Clock::now() > deadline_) {
      ::kill(-group_, SIGKILL);
    }
  }

 private:
  pid_t group_;
  bool asked_ = false;
  Clock::time_point deadline_{};
};

}  // namespace

std::vector<char*> argument_pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) {
    result.push_back(text.data());
  }
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> current_environment() {
  std::vector<std::string> result;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    result.emplace_back(*variable);
  }
  return result;
}

ChildOutcome run_child(const ChildProgram& program) {
  SOUP_REQUIRE(!program.arguments.empty(), "a child without a program");
  const std::string& name = program.arguments.front();
  Pipe output(name);
  Pipe errors(name);
  for (const Pipe* pipe : {&output, &errors}) {
    if (::fcntl(pipe->read_end.get(), F_SETFL, O_NONBLOCK) != 0) {
      throw DataError(name, "its output cannot be read: " + errno_text(errno));
    }
  }
  const pid_t child = start(program, output, errors);
  output.write_end = FileDescriptor();
  errors.write_end = FileDescriptor();

  ChildOutcome outcome;
  Ending ending(child);
  const Clock::time_point begin = Clock::now();
  int status = 0;
  for (bool ended = false; !ended;) {
    std::array<pollfd, 2> ends{pollfd{output.is_open ? output.read_end.get() : -1, POLLIN, 0},
                               pollfd{errors.is_open ? errors.read_end.get() : -1, POLLIN, 0}};
    ::poll(ends.data(), ends.size(), look_around_ms);
    const pid_t found = ::waitpid(child, &status, WNOHANG);
    ended = found == child || (found < 0 && errno != EINTR);
    // After the child's end only what is there already: a process that it left behind may hold the pipes open.
    output.drain(outcome.output, kept_output);
    errors.drain(outcome.errors, kept_errors);
    outcome.timed_out = outcome.timed_out || (!ended && std::chrono::duration<double>(Clock::now() - begin).count() >
                                                            program.timeout_seconds);
    if (!ended && (outcome.timed_out || stop_requested())) {
      ending.push();
    }
  }
  if (stop_requested()) {
    throw Interrupted("stopped on a signal while " + name + " ran");
  }
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

}  // namespace soup
