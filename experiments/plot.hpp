// Line plots as inline SVG, drawn by gnuplot.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace soup {

struct Curve {
  std::string title;
  std::vector<std::pair<double, double>> points;  // (x, y), x ascending
  int colour = 0;                                 // index into the plot's palette
  bool dashed = false;
};

struct Plot {
  std::string name;  // prefix of the SVG's ids: letters, digits and underscores, unique in the page
  std::string x_label;
  std::string y_label;
  bool logarithmic = false;  // y axis; values must then be positive
  std::vector<Curve> curves;
};

// An <svg> element without XML header; lines and letters of the axes take the page's text colour. Throws DataError when
// gnuplot is missing or fails.
[[nodiscard]] std::string draw_svg(const Plot& plot);

}  // namespace soup
