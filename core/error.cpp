#include "core/error.hpp"

#include <utility>

namespace soup {

namespace {

std::string with_hint(const std::string& message, const std::string& hint) {
  return hint.empty() ? message : message + "\n  hint: " + hint;
}

// "a: b: c", leaving out what is empty.
std::string join(std::string_view first, std::string_view second, std::string_view third = {}) {
  std::string joined;
  for (const std::string_view part : {first, second, third}) {
    if (!part.empty()) {
      joined.append(joined.empty() ? "" : ": ").append(part);
    }
  }
  return joined;
}

}  // namespace

Error::Error(ExitCode code, std::string message, std::string hint)
    : std::runtime_error(with_hint(message, hint)), code_(code), message_(std::move(message)), hint_(std::move(hint)) {}

ConfigError::ConfigError(std::string_view where, std::string_view key_path, std::string_view message, std::string hint)
    : Error(ExitCode::usage, join(where, key_path, message), std::move(hint)) {}

ConfigError::ConfigError(std::string message, std::string hint)
    : Error(ExitCode::usage, std::move(message), std::move(hint)) {}

DataError::DataError(const std::filesystem::path& path, std::string_view message, std::string hint)
    : Error(ExitCode::data, join(path.native(), message), std::move(hint)) {}

CommError::CommError(std::string_view call, std::string_view detail, std::string hint)
    : Error(ExitCode::communication, join(call, detail), std::move(hint)) {}

InvariantError::InvariantError(std::string message)
    : Error(ExitCode::invariant, "a bug in soup: " + std::move(message), "please report it with this message") {}

Interrupted::Interrupted(std::string message)
    : Error(ExitCode::interrupted, std::move(message), "give the same command again to go on from here") {}

}  // namespace soup
