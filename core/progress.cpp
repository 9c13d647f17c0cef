#include "core/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/text.hpp"

namespace soup {

namespace {

using Clock = std::chrono::steady_clock;
constexpr Clock::duration live_interval = std::chrono::milliseconds(100);
constexpr Clock::duration calm_interval = std::chrono::seconds(10);
constexpr Clock::duration first_word = std::chrono::seconds(2);  // soon enough to see that it gets on, and how quickly

}  // namespace

Progress::Progress(Log& log, std::string stage, std::uint64_t total, std::string unit, std::uint64_t done)
    : log_(log),
      stage_(std::move(stage)),
      unit_(std::move(unit)),
      total_(total),
      first_(done),
      done_(done),
      start_(Clock::now()),
      last_live_(start_ - live_interval),
      last_logged_(start_ + first_word - calm_interval),
      exceptions_at_start_(std::uncaught_exceptions()) {}

Progress::~Progress() {
  try {
    if (std::uncaught_exceptions() > exceptions_at_start_) {
      end("stopped", fmt::format("{}: stopped at {} of {} {}", stage_, amount(static_cast<double>(done_)),
                                 amount(static_cast<double>(total_)), unit_));
    } else {
      finish();
    }
  } catch (const std::exception&) {
    // The log cannot be written: whoever writes the next line is told so, a destructor cannot tell.
    finished_ = true;
  }
}

void Progress::advance_to(std::uint64_t done, std::string_view detail) {
  SOUP_REQUIRE(done >= done_, fmt::format("progress of {} went back from {} to {}", stage_, done_, done));
  done_ = done;
  const Clock::time_point now = Clock::now();
  const bool shows = log_.rank() == 0;
  if (shows && log_.interactive() && now - last_live_ >= live_interval) {
    last_live_ = now;
    log_.show_live(line(detail));
  }
  if (now - last_logged_ >= calm_interval) {
    last_logged_ = now;
    if (shows && !log_.interactive()) {
      log_.terminal_line(line(detail));
    }
    log_.event("progress", {{"stage", stage_},
                            {"done", done_},
                            {"total", total_},
                            {"unit", unit_},
                            {"rate", rate()},
                            {"detail", std::string(detail)}});
  }
}

void Progress::expect(std::uint64_t total) {
  total_ = std::max(total, done_);
}

void Progress::finish() {
  end("finished", fmt::format("{}: {} {} in {}", stage_, amount(static_cast<double>(done_ - first_)), unit_,
                              human_seconds(elapsed_seconds())));
}

void Progress::end(std::string_view event, std::string_view text) {
  if (std::exchange(finished_, true)) {
    return;
  }
  if (log_.rank() == 0) {
    log_.clear_live();
    log_.terminal_line(text);
  }
  log_.event(event, {{"stage", stage_},
                     {"done", done_},
                     {"total", total_},
                     {"unit", unit_},
                     {"rate", rate()},
                     {"seconds", elapsed_seconds()}});
}

double Progress::rate() const {
  const double seconds = elapsed_seconds();
  return seconds > 0.0 ? static_cast<double>(done_ - first_) / seconds : 0.0;
}

double Progress::elapsed_seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

std::string Progress::amount(double value) const {
  return unit_ == "bytes" ? human_bytes(value) : fmt::format("{:.0f}", value);
}

std::string Progress::line(std::string_view detail) const {
  const double per_second = rate();
  std::string text = fmt::format("{}: {}/{} {}", stage_, amount(static_cast<double>(done_)),
                                 amount(static_cast<double>(total_)), unit_);
  if (per_second > 0.0) {
    text += unit_ == "bytes" ? fmt::format(", {}/s", human_bytes(per_second))
                             : fmt::format(", {:.{}f}/s", per_second, per_second < 100.0 ? 1 : 0);
    if (total_ > done_) {
      text += fmt::format(", {} left", human_seconds(static_cast<double>(total_ - done_) / per_second));
    }
  }
  if (!detail.empty()) {
    text += fmt::format(", {}", detail);
  }
  return text;
}

}  // namespace soup
