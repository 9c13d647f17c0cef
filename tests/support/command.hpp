// A shell command, what it printed and how it ended.
#pragma once

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <array>
#include <cstddef>
#include <string>

namespace soup::test {

struct Outcome {
  int code = -1;     // exit code, or 128 + signal
  std::string text;  // stdout and stderr
};

inline Outcome run_command(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen(("( " + command + " ) 2>&1").c_str(), "r");
  if (pipe == nullptr) {
    ADD_FAILURE() << "cannot start: " << command;
    return outcome;
  }
  std::array<char, 4096> block{};
  for (std::size_t read = 0; (read = fread(block.data(), 1, block.size(), pipe)) > 0;) {
    outcome.text.append(block.data(), read);
  }
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

}  // namespace soup::test
