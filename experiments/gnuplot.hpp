// gnuplot as a child process: scripts in, pictures out.
#pragma once

#include <string>
#include <string_view>

namespace soup {

// Text as gnuplot reads it, with quotes.
[[nodiscard]] std::string gnuplot_text(std::string_view text);

// Runs a script, which writes what it says. Throws DataError when gnuplot is missing or fails.
void run_gnuplot(const std::string& script);

}  // namespace soup
