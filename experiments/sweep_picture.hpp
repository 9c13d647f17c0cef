// The picture of a sweep: the images of all its soups in one sheet, laid out as their weights are. No torch.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/image.hpp"
#include "experiments/sweep_record.hpp"

namespace soup {

struct SheetPlace {
  int left = 0;
  int top = 0;

  bool operator==(const SheetPlace&) const = default;
};

struct SheetLabel {
  enum class Align { left, centre };
  std::string text;
  SheetPlace place;
  int width = 0;  // pixels; a longer text is wrapped, and shortened where it still does not fit
  int lines = 1;  // at most
  Align align = Align::centre;
};

// Where everything is, in pixels of the sheet.
struct SweepLayout {
  int height = 0;
  int width = 0;
  int line = 0;                                // height of a line of text
  std::vector<std::vector<SheetPlace>> cells;  // [point][image]
  std::vector<SheetLabel> labels;
};

// Images are square, `cell` pixels on the sheet, and `count` of them in a row belong to each caption.
// Two inputs: a column per point, from the first input to the second, and a row per image.
// Three inputs: per image a triangle whose row r has r + 1 cells, the first input on top, the second on the left, the
// third on the right; captions side by side, images of one below each other.
// More: a row per point, a column per image.
// Throws ConfigError when the sheet would pass 2^28 pixels.
SweepLayout sweep_layout(const Sweep& sweep, std::span<const std::string> captions, int count, int cell);

// The sheet; images: [point][image], RGB, each pixel repeated `zoom` times. Labels are drawn with draw_text.
Image draw_sweep(const SweepLayout& layout, const std::vector<std::vector<Image>>& images, int zoom);

}  // namespace soup
