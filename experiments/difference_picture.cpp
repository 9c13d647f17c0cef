// A difference of models as a picture: drift per block and model, cosines between models.
#include "experiments/difference_picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "experiments/gnuplot.hpp"

namespace soup {

namespace {

struct Cell {
  std::size_t column = 0;
  std::size_t row = 0;
  double value = 0.0;  // what has no colour (not finite, or 0 where the scale is logarithmic) stays grey
  std::string text;
};

// A matrix of coloured cells with numbers in them. Lengths in pixels.
struct HeatMap {
  std::string title;
  std::vector<std::string> columns;
  std::vector<std::string> rows;
  std::vector<Cell> cells;
  std::string palette;  // gnuplot's "defined" list
  double least = 0.0;   // of the colours
  double most = 1.0;
  bool logarithmic = false;

  double cell_width = 62.0;
  double cell_height = 24.0;
  double left = 0.0;  // edge of the cells
  double top = 0.0;

  [[nodiscard]] double width() const { return cell_width * static_cast<double>(columns.size()); }
  [[nodiscard]] double height() const { return cell_height * static_cast<double>(rows.size()); }
};

constexpr double letter_width = 8.6;    // of most letters of the font, at least
constexpr double above = 52.0;          // room for the title
constexpr double colour_bar = 16.0;     // its width
constexpr double bar_gap = 14.0;        // between cells and colour bar
constexpr double bar_numbers = 70.0;    // room for its numbers
constexpr double tallest = 16000.0;     // of a picture's cells; pictures beyond 32767 pixels cannot be drawn
constexpr double least_letters = 12.0;  // a cell as high as this can hold a number

// Perceptually uniform and readable in grey and for colour-blind readers: viridis (Smith & van der Walt 2015).
constexpr const char* sequential =
    "0 '#440154', 0.125 '#482878', 0.25 '#3e4989', 0.375 '#31688e', 0.5 '#26828e', 0.625 '#1f9e89', 0.75 '#35b779', "
    "0.875 '#6ece58', 1 '#fde725'";
// Blue against red over white.
constexpr const char* diverging =
    "-1 '#2166ac', -0.6 '#4393c3', -0.3 '#92c5de', -0.1 '#d1e5f0', 0 '#f7f7f7', 0.1 '#fddbc7', 0.3 '#f4a582', 0.6 "
    "'#d6604d', 1 '#b2182b'";

double longest(const std::vector<std::string>& names) {
  std::size_t most = 0;
  for (const std::string& name : names) {
    most = std::max(most, name.size());
  }
  return letter_width * static_cast<double>(most) + 16.0;
}

bool has_colour(const HeatMap& map, double value) {
  return std::isfinite(value) && (!map.logarithmic || value > 0.0);
}

// Where a value lies on the colours, 0 to 1.
double shade(const HeatMap& map, double value) {
  const double share = map.logarithmic ? std::log(value / map.least) / std::log(map.most / map.least)
                                       : (value - map.least) / (map.most - map.least);
  return std::clamp(share, 0.0, 1.0);
}

void set_range(HeatMap& map) {
  double least = std::numeric_limits<double>::infinity();
  double most = 0.0;
  for (const Cell& cell : map.cells) {
    if (std::isfinite(cell.value) && cell.value > 0.0) {
      least = std::min(least, cell.value);
      most = std::max(most, cell.value);
    }
  }
  // Beyond this ratio a linear scale shows only who moved most.
  constexpr double linear_ratio = 20.0;
  map.logarithmic = most > linear_ratio * least;
  map.least = map.logarithmic ? least : 0.0;
  map.most = most > 0.0 ? most : 1.0;
}

HeatMap drift_map(const Difference& difference, const Outliers& outliers, const DifferenceTextOptions& options) {
  HeatMap map;
  map.title = difference.reference == Reference::mean ? "Relative drift |w - mean| / |mean|"
                                                      : "Relative drift |w - base| / |base|";
  map.columns = model_names(difference);
  map.palette = sequential;
  const bool several = difference.parts.size() > 1;
  const auto add = [&](const std::string& label, const DifferenceRow& row) {
    for (std::size_t m = 0; m < row.sums.models(); ++m) {
      const bool marked = std::ranges::any_of(outliers.drifts, [&](const Outliers::Drift& drift) {
        return drift.part == row.part && drift.block == row.block && drift.model == m;
      });
      map.cells.push_back(
          {m, map.rows.size(), row.sums.drift(m), drift_number(row.sums.drift(m)) + (marked ? "*" : "")});
    }
    map.rows.push_back(label);
  };
  for (const PartDifference& part : difference.parts) {
    for (const DifferenceRow& row : top_rows(part, options)) {
      add(several ? part.name + "  " + row.block : row.block, row);
    }
    add(several ? part.name + "  all" : "all", part_row(part));
    if (several) {
      map.rows.emplace_back();  // an empty line after it
    }
  }
  if (several) {
    add("all parts", total_row(difference));
  }
  set_range(map);
  return map;
}

HeatMap cosine_map(const Difference& difference) {
  HeatMap map;
  map.title = difference.parts.size() > 1 ? "Cosines between deltas, all parts" : "Cosines between deltas";
  map.columns = model_names(difference);
  map.rows = map.columns;
  map.palette = diverging;
  map.least = -1.0;
  map.cell_height = 36.0;
  const DeltaSums sums = total_row(difference).sums;
  for (std::size_t a = 0; a < map.rows.size(); ++a) {
    for (std::size_t b = 0; b < map.rows.size(); ++b) {
      const double cosine = sums.cosine(a, b);
      map.cells.push_back({b, a, cosine, std::isnan(cosine) ? "-" : a == b ? "1" : fmt::format("{:.2f}", cosine)});
    }
  }
  return map;
}

// Numbers of a logarithmic colour bar, at 1, 2, 5, 10, ...: gnuplot's own are powers of ten only.
std::string logarithmic_tics(double least, double most) {
  std::string list;
  for (int power = static_cast<int>(std::floor(std::log10(least))); std::pow(10.0, power) <= most; ++power) {
    for (const int digit : {1, 2, 5}) {
      list += fmt::format("{}{:.0e}", list.empty() ? "" : ", ", digit * std::pow(10.0, power));
    }
  }
  return list;
}

std::string tics(const std::vector<std::string>& names) {
  std::string list;
  for (std::size_t i = 0; i < names.size(); ++i) {
    list += fmt::format("{}{} {}", i == 0 ? "" : ", ", gnuplot_text(names[i]), i);
  }
  return list;
}

// The lines that draw one map into a picture of `width` by `height` pixels.
std::string draw(const HeatMap& map, const std::string& name, double width, double height) {
  std::string script = fmt::format("${} << EOD\n-9 -9 {}\n", name, map.most);
  for (const Cell& cell : map.cells) {
    script += has_colour(map, cell.value) ? fmt::format("{} {} {}\n", cell.column, cell.row, cell.value) : "";
  }
  script += fmt::format("EOD\n${}_grey << EOD\n-9 -9\n", name);
  for (const Cell& cell : map.cells) {
    script += has_colour(map, cell.value) ? "" : fmt::format("{} {}\n", cell.column, cell.row);
  }
  // Letters in white on dark cells; viridis is dark at its beginning, the diverging colours at both ends.
  script += fmt::format("EOD\n${}_text << EOD\n", name);
  for (const Cell& cell : map.cells) {
    const double place = has_colour(map, cell.value) ? shade(map, cell.value) : 0.5;
    const bool dark =
        has_colour(map, cell.value) && (map.palette == sequential ? place < 0.6 : std::fabs(place - 0.5) > 0.35);
    script += fmt::format("{} {} \"{}\" {}\n", cell.column, cell.row, cell.text, dark ? 0xffffff : 0x000000);
  }
  script += "EOD\n";
  const double bottom = map.top + map.height();
  script += fmt::format("set lmargin at screen {}\nset rmargin at screen {}\n", map.left / width,
                        (map.left + map.width()) / width);
  script += fmt::format("set tmargin at screen {}\nset bmargin at screen {}\n", 1.0 - map.top / height,
                        1.0 - bottom / height);
  script += fmt::format("set title {} offset 0,0.4\n", gnuplot_text(map.title));
  script += fmt::format("set xrange [-0.5:{}]\nset yrange [{}:-0.5]\n", static_cast<double>(map.columns.size()) - 0.5,
                        static_cast<double>(map.rows.size()) - 0.5);
  script += fmt::format("set xtics ({}) rotate by -40 left scale 0 offset -0.5,0\n", tics(map.columns));
  script +=
      map.cell_height >= least_letters ? fmt::format("set ytics ({}) scale 0\n", tics(map.rows)) : "unset ytics\n";
  script += fmt::format("set palette defined ({})\n", map.palette);
  script +=
      fmt::format("{} logscale cb\nset cbrange [{}:{}]\n", map.logarithmic ? "set" : "unset", map.least, map.most);
  script += map.logarithmic ? fmt::format("set cbtics ({})\n", logarithmic_tics(map.least, map.most))
                            : "set cbtics autofreq\n";
  script += fmt::format("set colorbox user origin {},{} size {},{}\n", (map.left + map.width() + bar_gap) / width,
                        1.0 - bottom / height, colour_bar / width, map.height() / height);
  // A list without entries would stop gnuplot, so each has one outside the picture.
  constexpr const char* cell_edges = "using 1:2:($1-0.5):($1+0.5):($2-0.5):($2+0.5)";
  script += fmt::format(
      "plot ${0} {1}:3 with boxxyerror fillstyle solid linecolor palette notitle, ${0}_grey {1} with boxxyerror "
      "fillstyle solid linecolor rgb '#d9d9d9' notitle",
      name, cell_edges);
  if (map.cell_height >= least_letters) {
    script += fmt::format(", ${}_text using 1:2:3:4 with labels textcolor rgb variable font ',10' notitle", name);
  }
  return script + "\n";
}

std::string script_of(std::vector<HeatMap> maps, const std::filesystem::path& output) {
  double width = 0.0;
  double height = 0.0;
  for (HeatMap& map : maps) {
    map.cell_height = std::min(map.cell_height, tallest / static_cast<double>(map.rows.size()));
    map.top = above;
    // Slanted names of the columns reach to the right and down.
    const double slanted = 0.8 * longest(map.columns);
    map.left = width + (map.cell_height >= least_letters ? longest(map.rows) : 20.0);
    width = map.left + map.width() + std::max(bar_gap + colour_bar + bar_numbers, slanted);
    height = std::max(height, map.top + map.height() + slanted + 14.0);
  }
  std::string script = "set encoding utf8\n";
  script += fmt::format("set terminal pngcairo noenhanced size {},{} font \"sans-serif,11\" background rgb 'white'\n",
                        std::ceil(width), std::ceil(height));
  script +=
      fmt::format("set output {}\nset multiplot\nset border 0\nset cbtics scale 0.5\n", gnuplot_text(output.string()));
  for (std::size_t i = 0; i < maps.size(); ++i) {
    script += draw(maps[i], fmt::format("map{}", i), std::ceil(width), std::ceil(height));
  }
  return script + "unset multiplot\nset output\n";
}

}  // namespace

void write_difference_picture(const std::filesystem::path& path, const Difference& difference, const Outliers& outliers,
                              const DifferenceTextOptions& options) {
  std::vector<HeatMap> maps;
  maps.push_back(drift_map(difference, outliers, options));
  if (difference.models.size() > 1) {
    maps.push_back(cosine_map(difference));
  }
  AtomicPath output(path);
  run_gnuplot(script_of(std::move(maps), output.partial()));
  // gnuplot ends well also where it could not write.
  if (!std::filesystem::exists(output.partial()) || !read_file(output.partial()).ends_with("IEND\xae\x42\x60\x82")) {
    throw DataError(path, "gnuplot could not write the picture", "is the disk full, or the folder read-only?");
  }
  output.commit();
}

}  // namespace soup
