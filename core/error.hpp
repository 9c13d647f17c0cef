// The four errors of soup and the exit codes they become; thrown with context, caught only in main and in tests.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

namespace soup {

// Process exit codes; part of the command line's contract (README, "Exit codes").
enum class ExitCode : int {
  success = 0,
  usage = 2,          // command line or configuration
  data = 3,           // data or file
  communication = 4,  // MPI or NCCL
  invariant = 70,     // a bug in soup
  interrupted = 75,   // stopped on a signal after a checkpoint: give the same command again
};

// Base of all errors. what() is the whole message, the hint on a line of its own ("\n  hint: ...").
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, std::string message, std::string hint = {});

  [[nodiscard]] ExitCode exit_code() const noexcept { return code_; }
  // The message without the hint, and the hint alone: what agree() sends to the other ranks.
  [[nodiscard]] const std::string& message() const noexcept { return message_; }
  [[nodiscard]] const std::string& hint() const noexcept { return hint_; }

 private:
  ExitCode code_;
  std::string message_;
  std::string hint_;
};

// A mistake in a YAML file or on the command line. `where` is "file:line" (or "--set a.b=c"), `key_path` is
// "data.shards[2].name".
class ConfigError : public Error {
 public:
  ConfigError(std::string_view where, std::string_view key_path, std::string_view message, std::string hint = {});
  // A mistake that belongs to no key (usage).
  explicit ConfigError(std::string message, std::string hint = {});
};

// A file or its content is missing, broken or not what its record says.
class DataError : public Error {
 public:
  DataError(const std::filesystem::path& path, std::string_view message, std::string hint = {});
};

// A communication call failed or ran past its deadline.
class CommError : public Error {
 public:
  CommError(std::string_view call, std::string_view detail, std::string hint = {});
};

// A broken invariant: a bug in soup, never the user's fault.
class InvariantError : public Error {
 public:
  explicit InvariantError(std::string message);
};

// Stopped on a signal after a checkpoint was written.
class Interrupted : public Error {
 public:
  explicit Interrupted(std::string message);
};

// Throws InvariantError with file and line when `condition` is false.
#define SOUP_REQUIRE(condition, message)                                                                       \
  do {                                                                                                         \
    if (!(condition)) {                                                                                        \
      throw ::soup::InvariantError(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " + (message) + \
                                   " [" #condition "]");                                                       \
    }                                                                                                          \
  } while (false)

}  // namespace soup
