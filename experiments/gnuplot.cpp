// gnuplot as a child process: scripts in, pictures out.
#include "experiments/gnuplot.hpp"

#include <filesystem>

#include "core/atomic_file.hpp"
#include "core/child_process.hpp"
#include "core/error.hpp"
#include "core/scratch_folder.hpp"

namespace soup {

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
  const ScratchFolder folder("soup-plot");
  const std::filesystem::path file = folder.path() / "script.gnuplot";
  write_file_atomically(file, script);
  const ChildOutcome outcome =
      run_child({{"gnuplot", file.string()}, current_environment(), "install the Debian package gnuplot-nox"});
  if (outcome.code != 0) {
    throw DataError("gnuplot", "failed: " + outcome.errors.substr(0, 500),
                    "is the Debian package gnuplot-nox installed?");
  }
}

}  // namespace soup
