// Another program run as a child until it ends, its output caught; it is ended when this program is asked to stop.
#pragma once

#include <limits>
#include <string>
#include <vector>

namespace soup {

struct ChildProgram {
  std::vector<std::string> arguments;    // the first is the program, looked up in PATH
  std::vector<std::string> environment;  // NAME=value, all of them
  std::string hint = {};                 // of the error when it cannot be started
  double timeout_seconds = std::numeric_limits<double>::infinity();
};

struct ChildOutcome {
  int code = 0;  // exit code, or 128 + signal
  bool timed_out = false;
  std::string output;  // stdout, from its last 16 MiB
  std::string errors;  // stderr, from its last 64 KiB
};

// This process's environment.
std::vector<std::string> current_environment();

// What execv() and posix_spawn() want: a pointer to each, then nullptr; good while `texts` stays as it is.
std::vector<char*> argument_pointers(std::vector<std::string>& texts);

// The child gets a process group of its own, and nothing on stdin. At the timeout, and on a stop signal to this
// process, the whole group gets SIGTERM, and five seconds later SIGKILL. Throws DataError (naming the program) when it
// cannot be started, Interrupted after a stop signal.
ChildOutcome run_child(const ChildProgram& program);

}  // namespace soup
