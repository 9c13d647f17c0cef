// A table of text with aligned columns, broken into several where the columns do not fit a line.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace soup {

class TextTable {
 public:
  // `columns` are the titles of all columns but the first, which holds the rows' labels.
  TextTable(std::string label_title, std::vector<std::string> columns);

  // As many cells as columns.
  void add_row(std::string label, std::vector<std::string> cells);
  // A line of its own ("" for an empty one) before the next row; the rows of a named group are indented.
  void begin_group(std::string title);

  // Labels to the left, cells to the right; a column is as wide as its widest cell or title (titles longer than 24
  // letters lose their middle). Tables that follow for want of width repeat the labels.
  [[nodiscard]] std::string text(std::size_t width) const;

 private:
  struct Row {
    std::string label;
    std::vector<std::string> cells;  // none: the title of a group
  };

  std::string label_title_;
  std::vector<std::string> columns_;
  std::vector<Row> rows_;
  bool indented_ = false;
};

}  // namespace soup
