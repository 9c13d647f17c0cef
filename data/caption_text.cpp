#include "data/caption_text.hpp"

#include <utf8cpp/utf8/unchecked.h>

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "core/text.hpp"

namespace soup {
namespace {

constexpr std::size_t max_bytes = 4096;

// The characters with Unicode's property White_Space (PropList.txt, Unicode 15).
bool is_space(std::uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_dropped(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xfeff;
}

// At most max_bytes, without half a word or, in a text of one word, half a character.
void cut(std::string& text) {
  std::size_t end = text.rfind(' ', max_bytes);
  if (end == std::string::npos || end == 0) {
    end = max_bytes;
    while ((static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) {
      --end;
    }
  }
  text.resize(end);
}

}  // namespace

std::optional<CleanCaption> clean_caption(std::string_view text) {
  if (!is_utf8(text)) {
    return std::nullopt;
  }
  CleanCaption clean;
  clean.text.reserve(std::min(text.size(), 2 * max_bytes));
  bool space = false;
  for (const char* at = text.data(); at != text.data() + text.size();) {
    const std::uint32_t c = utf8::unchecked::next(at);
    if (is_space(c)) {
      space = true;
    } else if (!is_dropped(c)) {
      if (space && !clean.text.empty()) {
        clean.text += ' ';
      }
      space = false;
      utf8::unchecked::append(c, std::back_inserter(clean.text));
    }
  }
  clean.changed = clean.text != text;
  clean.cut = clean.text.size() > max_bytes;
  if (clean.cut) {
    cut(clean.text);
  }
  return clean;
}

std::string key_of_caption(std::string_view clean) {
  std::string key(clean);
  std::ranges::transform(key, key.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return key;
}

}  // namespace soup
