// Progress of one stage: a live line on a terminal (stage, done/total, rate, time left), a calm line every ten
// seconds elsewhere. Only rank 0 shows it; the log file gets an event whenever a calm line is due.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace soup {

class Log;

class Progress {
 public:
  // On the terminal of the first rank, and in the log file of any: who does the same together leaves it to one of them.
  // unit: "images", "bytes", "files". `done` > 0 when a stage resumes: the rate counts only what this process did.
  Progress(Log& log, std::string stage, std::uint64_t total, std::string unit, std::uint64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` never goes back. detail: short text appended ("loss 0.0812").
  void advance_to(std::uint64_t done, std::string_view detail = {});
  // A better estimate of the total; never below what is done.
  void expect(std::uint64_t total);
  // Ends the line and logs the totals; called by the destructor if not before. A destructor that runs because of an
  // exception says that the stage stopped.
  void finish();
  [[nodiscard]] double rate() const;  // units per second so far

 private:
  [[nodiscard]] std::string line(std::string_view detail) const;
  [[nodiscard]] std::string amount(double value) const;  // "1200", "340 KiB"
  [[nodiscard]] double elapsed_seconds() const;
  void end(std::string_view event, std::string_view text);

  Log& log_;
  std::string stage_;
  std::string unit_;
  std::uint64_t total_;
  std::uint64_t first_;
  std::uint64_t done_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_live_;
  std::chrono::steady_clock::time_point last_logged_;
  int exceptions_at_start_;
  bool finished_ = false;
};

}  // namespace soup
