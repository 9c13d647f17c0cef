// A table of text with aligned columns, broken into several where the columns do not fit a line.
#include "experiments/text_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace soup {

namespace {

constexpr std::size_t longest_title = 24;

// Letters, not bytes: UTF-8's continuation bytes take no place on the screen.
std::size_t letters(const std::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

std::string padding(const std::string& text, std::size_t width) {
  return std::string(width - std::min(width, letters(text)), ' ');
}

// The two ends tell names of one experiment apart better than the beginning alone. Text beyond ASCII is left whole.
std::string shortened(const std::string& title) {
  if (title.size() <= longest_title || letters(title) != title.size()) {
    return title;
  }
  constexpr std::size_t tail = longest_title / 2;
  return title.substr(0, longest_title - tail - 2) + ".." + title.substr(title.size() - tail);
}

}  // namespace

TextTable::TextTable(std::string label_title, std::vector<std::string> columns)
    : label_title_(std::move(label_title)), columns_(std::move(columns)) {
  std::ranges::transform(columns_, columns_.begin(), shortened);
}

void TextTable::add_row(std::string label, std::vector<std::string> cells) {
  SOUP_REQUIRE(cells.size() == columns_.size(), "a row with another number of cells than there are columns");
  rows_.push_back({(indented_ ? "  " : "") + std::move(label), std::move(cells)});
}

void TextTable::begin_group(std::string title) {
  indented_ = !title.empty();
  rows_.push_back({std::move(title), {}});
}

std::string TextTable::text(std::size_t width) const {
  std::size_t label_width = letters(label_title_);
  std::vector<std::size_t> widths;
  for (const std::string& column : columns_) {
    widths.push_back(letters(column));
  }
  for (const Row& row : rows_) {
    label_width = std::max(label_width, letters(row.label));
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      widths[i] = std::max(widths[i], letters(row.cells[i]));
    }
  }
  std::string text;
  for (std::size_t first = 0; first < columns_.size();) {
    std::size_t used = label_width + 2 + widths[first];
    std::size_t end = first + 1;
    while (end < columns_.size() && used + 2 + widths[end] <= width) {
      used += 2 + widths[end++];
    }
    const auto line = [&](const std::string& label, const std::vector<std::string>& cells) {
      std::string line_text = label;
      if (!cells.empty()) {
        line_text += padding(label, label_width);
        for (std::size_t i = first; i < end; ++i) {
          line_text += "  " + padding(cells[i], widths[i]) + cells[i];
        }
      }
      line_text.erase(line_text.find_last_not_of(' ') + 1);
      text += line_text + '\n';
    };
    text += first == 0 ? "" : "\n";
    line(label_title_, columns_);
    for (const Row& row : rows_) {
      line(row.label, row.cells);
    }
    first = end;
  }
  return text;
}

}  // namespace soup
