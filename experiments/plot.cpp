#include "experiments/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string_view>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/scratch_folder.hpp"
#include "core/text.hpp"
#include "experiments/gnuplot.hpp"

namespace soup {

namespace {

// Distinguishable for colour-blind readers (Okabe & Ito 2008), readable on white and on dark grey.
constexpr std::array<std::string_view, 8> palette = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                     "#e69f00", "#56b4e9", "#8f6bd1", "#7f7f7f"};

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

}  // namespace

std::string draw_svg(const Plot& plot) {
  SOUP_REQUIRE(!plot.curves.empty(), "a plot without curves: " + plot.name);
  for (const Curve& curve : plot.curves) {
    SOUP_REQUIRE(!curve.points.empty(), "a curve without points: " + curve.title);
  }
  const ScratchFolder folder("soup-plot");
  run_gnuplot(script_of(plot, folder.path() / "plot.svg"));
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
