// Which block of a network a tensor belongs to, told from its name.
#include "merge/block_names.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <optional>
#include <set>

namespace soup {

namespace {

constexpr auto undivided_blocks =
    std::to_array<std::string_view>({"mid_block", "middle_block", "time_embed", "label_emb"});

bool is_decimal_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

// Ends of the prefixes of a name: "a.b.c" has "a", "a.b", "a.b.c".
std::vector<std::size_t> name_prefix_ends(std::string_view name) {
  std::vector<std::size_t> ends;
  for (std::size_t end = name.find_first_of("./"); end != std::string_view::npos;
       end = name.find_first_of("./", end + 1)) {
    ends.push_back(end);
  }
  ends.push_back(name.size());
  return ends;
}

// A block that the name alone tells, and how many of its components are the names of what it lies in.
struct ToldBlock {
  std::string_view name;
  std::size_t outer = 0;
};

std::optional<ToldBlock> told_block(std::string_view name) {
  const std::vector<std::size_t> ends = name_prefix_ends(name);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    const std::string_view component = name.substr(begin, ends[i] - begin);
    if (std::ranges::find(undivided_blocks, component) != undivided_blocks.end()) {
      return ToldBlock{name.substr(0, ends[i]), i};
    }
    if (!component.empty() && std::ranges::all_of(component, is_decimal_digit)) {
      return ToldBlock{name.substr(0, ends[i]), i == 0 ? 0 : i - 1};  // a list and its number
    }
    begin = ends[i] + 1;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> block_names(std::span<const std::string> tensors) {
  std::set<std::string_view> outer;
  for (const std::string_view name : tensors) {
    if (const std::optional<ToldBlock> block = told_block(name)) {
      const std::vector<std::size_t> ends = name_prefix_ends(name);
      for (std::size_t i = 0; i < block->outer; ++i) {
        outer.insert(name.substr(0, ends[i]));
      }
    }
  }
  std::vector<std::string> blocks;
  for (const std::string_view name : tensors) {
    if (const std::optional<ToldBlock> block = told_block(name)) {
      blocks.emplace_back(block->name);
      continue;
    }
    const std::vector<std::size_t> ends = name_prefix_ends(name);
    const auto end = std::ranges::find_if(ends, [&](std::size_t at) { return !outer.contains(name.substr(0, at)); });
    blocks.emplace_back(name.substr(0, end == ends.end() ? name.size() : *end));
  }
  return blocks;
}

bool natural_less(std::string_view a, std::string_view b) {
  // The digits of the number at `begin`, without leading zeros; `begin` moves behind them.
  const auto take_number = [](std::string_view text, std::size_t& begin) {
    const std::size_t end = std::min(text.find_first_not_of("0123456789", begin), text.size());
    std::string_view digits = text.substr(begin, end - begin);
    digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
    begin = end;
    return digits;
  };
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_decimal_digit(a[i]) && is_decimal_digit(b[j])) {
      const std::string_view mine = take_number(a, i);
      const std::string_view theirs = take_number(b, j);
      if (mine != theirs) {
        return mine.size() != theirs.size() ? mine.size() < theirs.size() : mine < theirs;
      }
    } else if (a[i] != b[j]) {
      return a[i] < b[j];
    } else {
      ++i;
      ++j;
    }
  }
  const bool ended = i == a.size() && j == b.size();
  return ended ? a < b : i == a.size();  // "a01" and "a1" are still two names
}

}  // namespace soup
