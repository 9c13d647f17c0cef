// How CLIP's tokenizer cleans text and cuts it into words.
#include "trainer/unicode_words.hpp"

#include <fmt/format.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <array>

#include "core/error.hpp"

namespace soup {
namespace {

using Characters = std::vector<UChar32>;

enum class CharacterClass { space, letter, number, other };

CharacterClass classify(UChar32 character) {
  if (u_isUWhiteSpace(character)) {
    return CharacterClass::space;
  }
  const auto mask = U_GET_GC_MASK(character);
  if ((mask & U_GC_L_MASK) != 0) {
    return CharacterClass::letter;
  }
  return (mask & U_GC_N_MASK) != 0 ? CharacterClass::number : CharacterClass::other;
}

icu::UnicodeString from_utf8(std::string_view text) {
  return icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())));
}

std::string to_utf8(const UChar32* characters, std::size_t count) {
  std::string text;
  icu::UnicodeString::fromUTF32(characters, static_cast<std::int32_t>(count)).toUTF8String(text);
  return text;
}

Characters to_characters(const icu::UnicodeString& text) {
  Characters characters;
  characters.reserve(static_cast<std::size_t>(text.length()));
  for (std::int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    characters.push_back(text.char32At(i));
  }
  return characters;
}

bool starts_with(const Characters& characters, std::size_t begin, std::string_view ascii) {
  return characters.size() - begin >= ascii.size() &&
         std::equal(ascii.begin(), ascii.end(), characters.begin() + static_cast<std::ptrdiff_t>(begin),
                    [](char expected, UChar32 found) { return static_cast<UChar32>(expected) == found; });
}

// Length of the marker at `begin`, or 0.
std::size_t marker_length(const Characters& characters, std::size_t begin) {
  for (const std::string_view marker : {"<|startoftext|>", "<|endoftext|>"}) {
    if (starts_with(characters, begin, marker)) {
      return marker.size();
    }
  }
  return 0;
}

// Length of the word at `begin`, which has the class `kind`.
std::size_t word_length(const Characters& characters, std::size_t begin, CharacterClass kind) {
  static constexpr std::array<std::string_view, 7> contractions = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
  for (const std::string_view contraction : contractions) {
    if (starts_with(characters, begin, contraction)) {
      return contraction.size();
    }
  }
  if (kind == CharacterClass::number) {
    return 1;
  }
  std::size_t end = begin + 1;
  while (end < characters.size() && classify(characters[end]) == kind) {
    ++end;
  }
  return end - begin;
}

}  // namespace

std::string clip_clean(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  SOUP_REQUIRE(U_SUCCESS(status), fmt::format("ICU has no NFC data: {}", u_errorName(status)));
  const icu::UnicodeString normalised = nfc->normalize(from_utf8(text), status);
  SOUP_REQUIRE(U_SUCCESS(status), fmt::format("ICU cannot normalise a text: {}", u_errorName(status)));
  Characters cleaned;
  for (const UChar32 character : to_characters(normalised)) {
    cleaned.push_back(u_tolower(character));
    if (character == 0x130) {
      // The only character whose lower case without context is two: i with a dot, and the dot again.
      cleaned.push_back(0x307);
    }
  }
  return to_utf8(cleaned.data(), cleaned.size());
}

std::vector<std::string> clip_words(std::string_view cleaned) {
  const Characters characters = to_characters(from_utf8(cleaned));
  std::vector<std::string> words;
  std::size_t begin = 0;
  while (begin < characters.size()) {
    if (const std::size_t length = marker_length(characters, begin); length > 0) {
      words.emplace_back("<|");
      words.push_back(to_utf8(characters.data() + begin + 2, length - 4));
      words.emplace_back("|>");
      begin += length;
      continue;
    }
    const CharacterClass kind = classify(characters[begin]);
    const std::size_t length = word_length(characters, begin, kind);
    if (kind != CharacterClass::space) {
      words.push_back(to_utf8(characters.data() + begin, length));
    }
    begin += length;
  }
  return words;
}

}  // namespace soup
