// A run's log: JSON lines in a file for programs, calm text lines (spdlog) on the terminal for people.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace soup {

class Log {
 public:
  // Terminal only (stderr). `rank` > 0 is silent on the terminal except for warnings and errors. SOUP_LIVE=1 in the
  // environment says that stderr ends in a terminal although it is a pipe (mpirun), as wide as COLUMNS.
  explicit Log(int rank = 0);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Also append JSON lines to `path` from now on. Every rank may append to the same file: a line is one O_APPEND write.
  // Throws DataError, as does every later line that cannot be written whole.
  void open_file(const std::filesystem::path& path);

  // Terminal, and {"event": "info" or "warning", "text": ...} in the file.
  void info(std::string_view text);
  void warn(std::string_view text);
  // One JSON line {"time": ISO 8601 UTC, "rank": r, "event": kind, ...fields}; file only. `fields` is an object.
  void event(std::string_view kind, const nlohmann::json& fields);
  [[nodiscard]] int rank() const;
  // Whether the terminal lines reach an interactive terminal.
  [[nodiscard]] bool interactive() const;

 private:
  friend class Progress;
  // A text line on the terminal alone.
  void terminal_line(std::string_view text);
  // Shows `text` in place of the last live line, cut to the terminal's width; other lines are printed above it.
  void show_live(std::string_view text);
  void clear_live();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace soup
