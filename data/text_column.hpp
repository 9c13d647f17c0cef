// A column of texts where it lies in a mapped file: all texts without a gap, and where each begins.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

class TextColumn {
 public:
  TextColumn() = default;
  // `offsets` are texts + 1 numbers of 64 bits. Throws DataError: offsets that go back or past the end, not UTF-8.
  TextColumn(std::span<const std::uint8_t> text, std::span<const std::uint8_t> offsets,
             const std::filesystem::path& path, const std::string& name)
      : text_(reinterpret_cast<const char*>(text.data()), text.size()), offsets_(offsets) {
    const std::size_t texts = offsets.size() / sizeof(std::uint64_t) - 1;
    std::uint64_t last = offset(0);
    bool good = last == 0;
    for (std::size_t i = 1; good && i <= texts; ++i) {
      const std::uint64_t next = offset(i);
      good = next >= last;
      last = next;
    }
    if (!good || last != text_.size()) {
      throw DataError(
          path, "the offsets of \"" + name + "\" do not divide its " + std::to_string(text_.size()) + " bytes of text");
    }
    if (is_ascii(text_)) {
      return;
    }
    for (std::size_t i = 0; i < texts; ++i) {
      if (!is_utf8((*this)[i])) {
        throw DataError(path, "entry " + std::to_string(i) + " of \"" + name + "\" is not UTF-8");
      }
    }
  }

  std::string_view operator[](std::size_t index) const {
    const std::uint64_t begin = offset(index);
    return text_.substr(begin, offset(index + 1) - begin);
  }

 private:
  [[nodiscard]] std::uint64_t offset(std::size_t index) const {
    std::uint64_t value = 0;
    std::memcpy(&value, offsets_.data() + index * sizeof value, sizeof value);
    return value;
  }
  static bool is_ascii(std::string_view text) {
    std::uint64_t high = 0;
    std::size_t at = 0;
    for (; at + sizeof high <= text.size(); at += sizeof high) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data() + at, sizeof word);
      high |= word;
    }
    return (high & 0x8080808080808080U) == 0 &&
           std::ranges::all_of(text.substr(at), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  }

  std::string_view text_;
  std::span<const std::uint8_t> offsets_;
};

}  // namespace soup
