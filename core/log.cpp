#include "core/log.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {

namespace {

constexpr std::string_view clear_line_code = "\r\x1b[K";

std::string utc_now() {
  using namespace std::chrono;
  const auto now = floor<milliseconds>(system_clock::now());
  const auto second = floor<seconds>(now);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(system_clock::to_time_t(second)),
                     (now - second).count());
}

// Whether stderr is a terminal, or ends in one behind mpirun's pipe and the caller says so.
bool stderr_is_live() {
  const char* const said = std::getenv("SOUP_LIVE");
  return ::isatty(STDERR_FILENO) == 1 || (said != nullptr && std::string_view(said) == "1");
}

std::size_t terminal_columns() {
  constexpr std::size_t usual_columns = 80;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  const char* const text = std::getenv("COLUMNS");
  const std::string_view digits = text == nullptr ? "" : text;
  std::size_t columns = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), columns);
  return parsed.ec == std::errc() && columns > 0 ? columns : usual_columns;
}

// The first `columns` code points, so that a multi-byte character is not cut in two.
std::string_view cut(std::string_view text, std::size_t columns) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins_character = (static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U;
    if (begins_character && seen++ == columns) {
      return text.substr(0, i);
    }
  }
  return text;
}

void write_to_terminal(std::string_view text) {
  // A closed or full terminal must not end a run, so the count is of no use.
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

struct Log::Impl {
  explicit Impl(int its_rank)
      : rank(its_rank),
        interactive(its_rank == 0 && stderr_is_live()),
        logger("soup", std::make_shared<spdlog::sinks::stderr_color_sink_mt>()) {
    logger.set_pattern(rank == 0 ? "%H:%M:%S %v" : fmt::format("%H:%M:%S rank {}: %v", rank));
    logger.set_level(rank == 0 ? spdlog::level::info : spdlog::level::warn);
    logger.flush_on(spdlog::level::info);
  }

  void text_line(spdlog::level::level_enum level, std::string_view text) {
    const std::scoped_lock lock(mutex);
    clear_live();
    logger.log(level, spdlog::string_view_t(text.data(), text.size()));
    draw_live();
  }

  void draw_live() const {
    if (!live.empty()) {
      write_to_terminal(fmt::format("{}{}", clear_line_code, cut(live, terminal_columns() - 1)));
    }
  }

  void clear_live() const {
    if (!live.empty()) {
      write_to_terminal(clear_line_code);
    }
  }

  int rank;
  bool interactive;
  spdlog::logger logger;
  std::mutex mutex;  // of the terminal and its live line
  std::string live;
  FileDescriptor file;
  std::filesystem::path file_path;
};

Log::Log(int rank) : impl_(std::make_unique<Impl>(rank)) {}
Log::~Log() = default;

void Log::open_file(const std::filesystem::path& path) {
  impl_->file = FileDescriptor(path, O_WRONLY | O_CREAT | O_APPEND);
  impl_->file_path = path;
}

void Log::info(std::string_view text) {
  impl_->text_line(spdlog::level::info, text);
  event("info", {{"text", text}});
}

void Log::warn(std::string_view text) {
  impl_->text_line(spdlog::level::warn, fmt::format("warning: {}", text));
  event("warning", {{"text", text}});
}

void Log::event(std::string_view kind, const nlohmann::json& fields) {
  if (!impl_->file.is_open()) {
    return;
  }
  SOUP_REQUIRE(fields.is_object() || fields.is_null(), "the fields of a log event are not an object");
  nlohmann::ordered_json line = {{"time", utc_now()}, {"rank", impl_->rank}, {"event", kind}};
  for (const auto& [key, value] : fields.items()) {
    line[key] = value;
  }
  // File names and captions may not be UTF-8; the log shows a replacement character there.
  std::string text = line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.push_back('\n');
  // One write per line keeps lines of different ranks whole; a short write (full disk) is an error, not a reason to go
  // on with a second part that another rank's line could get in front of.
  const std::size_t written = impl_->file.write_once(std::as_bytes(std::span(text)), impl_->file_path);
  if (written != text.size()) {
    throw DataError(impl_->file_path,
                    fmt::format("only {} of {} bytes of a log line could be written", written, text.size()),
                    errno_hint(ENOSPC));
  }
}

int Log::rank() const {
  return impl_->rank;
}

bool Log::interactive() const {
  return impl_->interactive;
}

void Log::terminal_line(std::string_view text) {
  impl_->text_line(spdlog::level::info, text);
}

void Log::show_live(std::string_view text) {
  if (impl_->interactive) {
    const std::scoped_lock lock(impl_->mutex);
    impl_->live = text;
    impl_->draw_live();
  }
}

void Log::clear_live() {
  const std::scoped_lock lock(impl_->mutex);
  impl_->clear_live();
  impl_->live.clear();
}

}  // namespace soup
