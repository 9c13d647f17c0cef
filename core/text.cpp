#include "core/text.hpp"

#include <fmt/format.h>
#include <utf8cpp/utf8.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <numeric>

namespace soup {

namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lower;
}

// Levenshtein's distance, one row at a time, with a swap of neighbours counted as one edit.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

bool is_utf8(std::string_view text) {
  return utf8::is_valid(text.begin(), text.end());
}

std::string excerpt(std::string_view text, std::size_t most_bytes) {
  std::size_t end = std::min(text.size(), most_bytes);
  const auto continues = [&](std::size_t i) { return (static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U; };
  constexpr int most_continuing = 3;  // bytes of one character
  for (int i = 0; i < most_continuing && 0 < end && end < text.size() && continues(end); ++i) {
    --end;
  }
  std::string shown;
  utf8::replace_invalid(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), std::back_inserter(shown));
  return end < text.size() ? shown + "..." : shown;
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  const std::string lower = lower_case(word);
  // A third of the letters may be wrong; a suggestion further away confuses more than it helps.
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  std::string best;
  for (const std::string& candidate : candidates) {
    const auto [shorter, longer] = std::minmax({word.size(), candidate.size()});
    if (longer - shorter >= best_distance) {  // at least so many edits; a word from a hostile file can be very long
      continue;
    }
    const std::size_t distance = edit_distance(lower, lower_case(candidate));
    if (distance < best_distance && distance < word.size()) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

bool matches_pattern(std::string_view text, std::string_view pattern) {
  // After a mismatch the last star takes one character more; an earlier star never has to.
  std::size_t at = 0;
  std::size_t in_pattern = 0;
  std::size_t star = std::string_view::npos;
  std::size_t after_star = 0;
  while (at < text.size()) {
    if (in_pattern < pattern.size() && pattern[in_pattern] == '*') {
      star = in_pattern++;
      after_star = at;
    } else if (in_pattern < pattern.size() && pattern[in_pattern] == text[at]) {
      ++in_pattern;
      ++at;
    } else if (star != std::string_view::npos) {
      in_pattern = star + 1;
      at = ++after_star;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', in_pattern) == std::string_view::npos;
}

std::string human_bytes(double bytes) {
  constexpr std::array<std::string_view, 7> unit_names = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  while (std::abs(bytes) >= 1023.5 && unit + 1 < unit_names.size()) {
    bytes /= 1024.0;
    ++unit;
  }
  const bool decimal = unit > 0 && std::abs(bytes) < 9.95;
  return fmt::format("{:.{}f} {}", bytes, decimal ? 1 : 0, unit_names[unit]);
}

std::string human_seconds(double seconds) {
  constexpr double longest_seconds = 1e12;
  if (!(std::abs(seconds) < longest_seconds)) {
    return "unknown";
  }
  if (seconds < 9.95) {
    return fmt::format("{:.1f} s", std::max(seconds, 0.0));
  }
  const std::int64_t whole = std::llround(seconds);
  if (whole < 60) {
    return fmt::format("{} s", whole);
  }
  if (whole < 3600) {
    return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  }
  const std::int64_t minutes = std::llround(seconds / 60.0);
  return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) {
      return parts;
    }
    begin = end + 1;
  }
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t place = text.find(from); place != std::string::npos; place = text.find(from, place + to.size())) {
    text.replace(place, from.size(), to);
  }
}

}  // namespace soup
