// gnuplot as a child process: scripts in, pictures out.
#include "experiments/gnuplot.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

extern char** environ;  // NOLINT: POSIX declares it nowhere

namespace soup {

ScratchFolder::ScratchFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "soup-plot-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw DataError(pattern, std::string("cannot make a temporary folder: ") + std::strerror(errno));
  }
  path_ = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string gnuplot_text(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
    }
    result += c;
  }
  return result + "\"";
}

void run_gnuplot(const std::string& script) {
  const ScratchFolder folder;
  const std::filesystem::path messages = folder.path() / "messages";
  write_file_atomically(folder.path() / "script.gnuplot", script);
  std::string program = "gnuplot";
  std::string argument = (folder.path() / "script.gnuplot").string();
  std::array<char*, 3> arguments = {program.data(), argument.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  const int failure = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) {
    throw DataError("gnuplot", std::string("cannot be started: ") + std::strerror(failure),
                    "install the Debian package gnuplot-nox");
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      throw DataError("gnuplot", std::string("waiting for it failed: ") + std::strerror(errno));
    }
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw DataError("gnuplot", "failed: " + read_file(messages).substr(0, 500),
                    "is the Debian package gnuplot-nox installed?");
  }
}

}  // namespace soup
