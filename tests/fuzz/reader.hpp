// What every fuzz target shares: its input as a file, and which outcomes of reading it are findings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "core/text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup::fuzz {

// Prints `finding` and aborts, which libFuzzer reports with the input that led here.
[[noreturn]] inline void report(std::string_view finding) {
  std::fprintf(stderr, "finding: %.*s\n", static_cast<int>(finding.size()), finding.data());
  std::abort();
}

// Not assert: it must also hold where NDEBUG is set.
inline void require(bool condition, std::string_view otherwise) {
  if (!condition) {
    report(otherwise);
  }
}

// What a person can be shown: in one piece, in UTF-8 (messages go into JSON logs, too), and naming the file.
inline void check_message(const Error& error, std::string_view place) {
  constexpr std::size_t longest = 2000;
  const std::string_view message = error.what();
  require(message.size() <= longest, "an error message of " + std::to_string(message.size()) + " bytes");
  require(is_utf8(message), "an error message that is not UTF-8");
  require(message.find(place) != std::string_view::npos, "an error message without the place: " + std::string(message));
}

// Reads one input. A refusal with a message for people is what bad input should get. A broken invariant, any other
// exception (left to std::terminate) and all that sanitizers and libFuzzer's limits find is a finding.
template <typename Read>
int read_input(std::string_view place, const Read& read) {
  try {
    read();
  } catch (const InvariantError& error) {
    report(error.what());
  } catch (const Error& error) {
    check_message(error, place);
  }
  return 0;
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Plainly, without the flush that soup's own writers wait for.
inline void write_plainly(const std::filesystem::path& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  require(file.flush().good(), "cannot write the input to " + path.string());
}

}  // namespace soup::fuzz
