// gnuplot as a child process: scripts in, pictures out.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace soup {

// Text as gnuplot reads it, with quotes.
[[nodiscard]] std::string gnuplot_text(std::string_view text);

// Runs a script, which writes what it says. Throws DataError when gnuplot is missing or fails.
void run_gnuplot(const std::string& script);

// A folder in the system's temporary one, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder();  // throws DataError
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace soup
