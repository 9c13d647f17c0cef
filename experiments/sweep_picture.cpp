// The picture of a sweep: the images of all its soups in one sheet, laid out as their weights are.
#include "experiments/sweep_picture.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/image_text.hpp"

namespace soup {

namespace {

using Align = SheetLabel::Align;

// Sizes of a sheet that follow from that of its cells.
struct Spacing {
  explicit Spacing(int cell_pixels)
      : cell(cell_pixels), gap(std::max(2, cell / 32)), line(std::clamp(cell / 6, 14, 48)), margin(line) {}

  // Of so many cells beside each other.
  [[nodiscard]] int across(std::size_t cells) const { return static_cast<int>(cells) * (cell + gap) - gap; }

  int cell;
  int gap;
  int line;
  int margin;
};

void require_drawable(double pixels) {
  if (constexpr double most_pixels = 0x1p28; pixels > most_pixels) {
    throw ConfigError(fmt::format("the picture would have {:.0f} million pixels, but at most {:.0f} million are drawn",
                                  pixels / 1e6, most_pixels / 1e6),
                      "give a smaller --zoom, fewer images, or make a sweep of fewer steps");
  }
}

// What stands at a cell: a corner's name, else the folder of the point.
std::string cell_text(const Sweep& sweep, std::size_t point) {
  const SweepPoint& at = sweep.points[point];
  return std::ranges::find(at.weights, sweep.steps) == at.weights.end() ? at.folder : sweep.title(point);
}

// Two inputs.
void lay_columns(const Sweep& sweep, std::span<const std::string> captions, int count, const Spacing& size,
                 SweepLayout& layout) {
  const int width = size.across(sweep.points.size());
  int top = size.margin;
  for (std::size_t point = 0; point < sweep.points.size(); ++point) {
    const int left = size.margin + static_cast<int>(point) * (size.cell + size.gap);
    layout.labels.push_back({cell_text(sweep, point), {left, top}, size.cell});
  }
  top += size.line + size.gap;
  for (const std::string& caption : captions) {
    top += size.line / 2;
    layout.labels.push_back({caption, {size.margin, top}, width, 1, Align::left});
    top += size.line + size.gap;
    for (int i = 0; i < count; ++i) {
      for (std::size_t point = 0; point < sweep.points.size(); ++point) {
        layout.cells[point].push_back({size.margin + static_cast<int>(point) * (size.cell + size.gap), top});
      }
      top += size.cell + size.gap;
    }
  }
  layout.width = width + 2 * size.margin;
  layout.height = top - size.gap + size.margin;
}

// Three inputs.
void lay_triangles(const Sweep& sweep, std::span<const std::string> captions, int count, const Spacing& size,
                   SweepLayout& layout) {
  const int width = size.across(static_cast<std::size_t>(sweep.steps) + 1);
  const int row_height = size.cell + size.line + 2 * size.gap;
  const int triangle_height = (sweep.steps + 1) * row_height;
  int left = size.margin;
  for (const std::string& caption : captions) {
    layout.labels.push_back({caption, {left, size.margin}, width});
    int top = size.margin + size.line + 2 * size.gap;
    for (int i = 0; i < count; ++i) {
      for (std::size_t point = 0; point < sweep.points.size(); ++point) {
        const GridWeights& weights = sweep.points[point].weights;
        const int row = weights[1] + weights[2];
        const int indent = (width - size.across(static_cast<std::size_t>(row) + 1)) / 2;
        const SheetPlace place{left + indent + weights[2] * (size.cell + size.gap), top + row * row_height};
        layout.cells[point].push_back(place);
        layout.labels.push_back({cell_text(sweep, point), {place.left, place.top + size.cell + size.gap}, size.cell});
      }
      top += triangle_height + size.line;
    }
    left += width + size.cell / 2;
  }
  layout.width = left - size.cell / 2 + size.margin;
  layout.height =
      size.margin + size.line + 2 * size.gap + count * (triangle_height + size.line) - size.line + size.margin;
}

// Any number of inputs.
void lay_rows(const Sweep& sweep, std::span<const std::string> captions, int count, const Spacing& size,
              SweepLayout& layout) {
  constexpr int caption_lines = 3;
  const int caption_width = size.across(static_cast<std::size_t>(count));
  const int title_width = 2 * size.cell;
  const int first_left = size.margin + title_width + size.line;
  for (std::size_t c = 0; c < captions.size(); ++c) {
    const int left = first_left + static_cast<int>(c) * (caption_width + size.line);
    layout.labels.push_back({captions[c], {left, size.margin}, caption_width, caption_lines, Align::left});
  }
  int top = size.margin + caption_lines * size.line + size.gap;
  for (std::size_t point = 0; point < sweep.points.size(); ++point) {
    layout.labels.push_back(
        {sweep.title(point), {size.margin, top}, title_width, std::max(1, size.cell / size.line), Align::left});
    for (int i = 0; i < static_cast<int>(captions.size()) * count; ++i) {
      layout.cells[point].push_back(
          {first_left + i / count * (caption_width + size.line) + i % count * (size.cell + size.gap), top});
    }
    top += size.cell + size.gap;
  }
  layout.width = first_left + static_cast<int>(captions.size()) * (caption_width + size.line) - size.line + size.margin;
  layout.height = top - size.gap + size.margin;
}

// The label's lines: as many words in each as fit, and in the last one all that is left.
std::vector<std::string> wrapped(const SheetLabel& label, int line) {
  std::vector<std::string> lines{""};
  for (const std::string& word : split(label.text, ' ')) {
    const std::string longer = lines.back().empty() ? word : lines.back() + " " + word;
    const bool is_last = static_cast<int>(lines.size()) == label.lines;
    if (is_last || lines.back().empty() || draw_text(longer, line).width <= label.width) {
      lines.back() = longer;
    } else {
      lines.push_back(word);
    }
  }
  return lines;
}

}  // namespace

SweepLayout sweep_layout(const Sweep& sweep, std::span<const std::string> captions, int count, int cell) {
  SOUP_REQUIRE(!captions.empty() && count > 0 && cell > 0, "a sheet has captions, images and cells");
  const double cells = static_cast<double>(sweep.points.size()) * static_cast<double>(captions.size()) * count;
  require_drawable(cells * cell * cell);  // from here on all places are integers
  SweepLayout layout;
  const Spacing size(cell);
  layout.line = size.line;
  layout.cells.resize(sweep.points.size());
  const auto lay = sweep.inputs.size() == 2 ? lay_columns : sweep.inputs.size() == 3 ? lay_triangles : lay_rows;
  lay(sweep, captions, count, size, layout);
  require_drawable(static_cast<double>(layout.width) * layout.height);
  return layout;
}

Image draw_sweep(const SweepLayout& layout, const std::vector<std::vector<Image>>& images, int zoom) {
  SOUP_REQUIRE(images.size() == layout.cells.size(), "a sheet shows every point");
  Image sheet = white_image(layout.height, layout.width);
  for (std::size_t point = 0; point < images.size(); ++point) {
    SOUP_REQUIRE(images[point].size() == layout.cells[point].size(), "a sheet shows every image");
    for (std::size_t i = 0; i < images[point].size(); ++i) {
      const SheetPlace& place = layout.cells[point][i];
      paste(images[point][i], place.top, place.left, zoom, sheet);
    }
  }
  for (const SheetLabel& label : layout.labels) {
    int top = label.place.top;
    for (const std::string& text : wrapped(label, layout.line)) {
      const Image line = draw_text_within(text, layout.line, label.width);
      const int space = label.align == Align::centre ? (label.width - line.width) / 2 : 0;
      paste(line, top, label.place.left + space, 1, sheet);
      top += layout.line;
    }
  }
  return sheet;
}

}  // namespace soup
