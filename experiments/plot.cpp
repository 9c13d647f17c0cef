#include "experiments/plot.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string_view>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

extern char** environ;  // NOLINT: POSIX declares it nowhere

namespace soup {

namespace {

// Distinguishable for colour-blind readers (Okabe & Ito 2008), readable on white and on dark grey.
constexpr std::array<std::string_view, 8> palette = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                     "#e69f00", "#56b4e9", "#8f6bd1", "#7f7f7f"};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "soup-plot-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      throw DataError(pattern, std::string("cannot make a temporary folder: ") + std::strerror(errno));
    }
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Text between gnuplot's double quotes.
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

// Range and tics of a logarithmic axis, at 1, 2, 5, 10, ...: gnuplot's own are powers of ten only, often one in all.
std::string logarithmic_axis(const Plot& plot) {
  double least = std::numeric_limits<double>::infinity();
  double most = 0.0;
  for (const Curve& curve : plot.curves) {
    for (const auto& [x, y] : curve.points) {
      if (std::isfinite(y) && y > 0.0) {
        least = std::min(least, y);
        most = std::max(most, y);
      }
    }
  }
  if (!(least <= most)) {
    return {};
  }
  std::string tics;
  for (int power = static_cast<int>(std::floor(std::log10(least))); power <= std::ceil(std::log10(most)); ++power) {
    for (const int digit : {1, 2, 5}) {
      tics += fmt::format("{}{}", tics.empty() ? "" : ", ", digit * std::pow(10.0, power));
    }
  }
  return fmt::format("set ytics ({})\nset yrange [{}:{}]\n", tics, least / 1.1, most * 1.1);
}

std::string script_of(const Plot& plot, const std::filesystem::path& output) {
  std::string script = "set encoding utf8\n";
  script += fmt::format("set terminal svg size 900,400 dynamic enhanced font \"sans-serif,13\" linewidth 1 name {}\n",
                        gnuplot_text(plot.name));
  script += "set termoption noenhanced\n";
  script += fmt::format("set output {}\n", gnuplot_text(output.string()));
  script += fmt::format("set xlabel {}\nset ylabel {}\n", gnuplot_text(plot.x_label), gnuplot_text(plot.y_label));
  script += plot.logarithmic ? "set logscale y\n" + logarithmic_axis(plot) : "";
  script += "set border 3 lw 1\nset tics nomirror out\nset grid ytics lt 1 lc rgb \"#999999\" lw 0.3\n";
  script += "set key outside right top Left reverse spacing 1.15 samplen 2\n";
  for (std::size_t i = 0; i < plot.curves.size(); ++i) {
    script += fmt::format("$curve{} << EOD\n", i);
    for (const auto& [x, y] : plot.curves[i].points) {
      if (std::isfinite(y) && (!plot.logarithmic || y > 0.0)) {
        script += fmt::format("{} {}\n", x, y);
      }
    }
    script += "EOD\n";
  }
  script += "plot ";
  for (std::size_t i = 0; i < plot.curves.size(); ++i) {
    const Curve& curve = plot.curves[i];
    script += fmt::format("{}$curve{} using 1:2 with lines lw 2 dt {} lc rgb \"{}\" title {}", i == 0 ? "" : ", ", i,
                          curve.dashed ? 2 : 1, palette[static_cast<std::size_t>(curve.colour) % palette.size()],
                          gnuplot_text(curve.title));
  }
  return script + "\n";
}

void run_gnuplot(const std::filesystem::path& script, const std::filesystem::path& messages) {
  std::string program = "gnuplot";
  std::string argument = script.string();
  std::array<char*, 3> arguments = {program.data(), argument.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child = 0;
  const int failure = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) {
    throw DataError("gnuplot", std::string("cannot be started: ") + std::strerror(failure),
                    "install the Debian package gnuplot-nox");
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      throw DataError("gnuplot", std::string("waiting for it failed: ") + std::strerror(errno));
    }
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw DataError("gnuplot", "failed: " + read_file(messages).substr(0, 500),
                    "is the Debian package gnuplot-nox installed?");
  }
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t place = text.find(from); place != std::string::npos; place = text.find(from, place + to.size())) {
    text.replace(place, from.size(), to);
  }
}

}  // namespace

std::string draw_svg(const Plot& plot) {
  SOUP_REQUIRE(!plot.curves.empty(), "a plot without curves: " + plot.name);
  for (const Curve& curve : plot.curves) {
    SOUP_REQUIRE(!curve.points.empty(), "a curve without points: " + curve.title);
  }
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "plot.gnuplot", script_of(plot, folder.path() / "plot.svg"));
  run_gnuplot(folder.path() / "plot.gnuplot", folder.path() / "messages");
  std::string svg = read_file(folder.path() / "plot.svg");
  const std::size_t begin = svg.find("<svg");
  if (begin == std::string::npos) {
    throw DataError("gnuplot", "wrote no SVG");
  }
  svg.erase(0, begin);
  // Black lines and letters would vanish on a dark page.
  for (const std::string_view black : {"\"black\"", "'black'", "\"rgb(0,0,0)\"", "'rgb(0,0,0)'",
                                       "\"rgb(  0,   0,   0)\"", "'rgb(  0,   0,   0)'", "\"#000000\"", "'#000000'"}) {
    replace_all(svg, black, "\"currentColor\"");
  }
  return svg;
}

}  // namespace soup
