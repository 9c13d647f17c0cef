// Captions as people wrote them: white space, control characters, length, encoding.
#include "data/caption_text.hpp"

#include <gtest/gtest.h>

namespace soup {
namespace {

std::string clean(std::string_view text) {
  return clean_caption(text).value().text;
}

TEST(CaptionText, WhiteSpaceOfAllKindsBecomesOneSpace) {
  EXPECT_EQ(clean("  a\t\r\n b\x0b\x0c  c \n"), "a b c");
  // No-break space, ogham space mark, em space, line separator, narrow no-break space, ideographic space, next line.
  EXPECT_EQ(clean("a\u00a0b\u1680c\u2003d\u2028e\u202ff\u3000g\u0085h"), "a b c d e f g h");
  EXPECT_EQ(clean("\u3000 \t"), "");
  EXPECT_EQ(clean(""), "");
}

TEST(CaptionText, ControlCharactersAndByteOrderMarksGo) {
  EXPECT_EQ(clean(std::string_view("\xef\xbb\xbf"
                                   "a\0b\x1b[1m\x7f\u009b",
                                   13)),
            "ab[1m");
  EXPECT_EQ(clean("zero\u200bwidth and \U0001f468\u200d\U0001f469"), "zero\u200bwidth and \U0001f468\u200d\U0001f469");
}

TEST(CaptionText, SaysWhatItDid) {
  EXPECT_FALSE(clean_caption("a plain caption")->changed);
  EXPECT_TRUE(clean_caption("a  plain caption")->changed);
  EXPECT_TRUE(clean_caption("a plain caption\n")->changed);
  EXPECT_FALSE(clean_caption("caf\u00e9")->changed);
}

TEST(CaptionText, LongOnesAreCutBehindAWord) {
  const std::string words = std::string(4090, 'a') + " bbbbb ccc";
  EXPECT_FALSE(clean_caption(std::string(4096, 'a'))->cut);
  EXPECT_EQ(clean(std::string(4096, 'a')).size(), 4096U);
  EXPECT_TRUE(clean_caption(words)->cut);
  EXPECT_EQ(clean(words), std::string(4090, 'a') + " bbbbb");  // its space stands at byte 4096
  EXPECT_EQ(clean(std::string(4091, 'a') + " bbbbb ccc"), std::string(4091, 'a'));
  std::string one_word;
  for (int i = 0; i < 2000; ++i) {
    one_word += "\u20ac";  // three bytes
  }
  EXPECT_EQ(clean(one_word), one_word.substr(0, 4095));
}

TEST(CaptionText, OtherEncodingsAreNone) {
  EXPECT_FALSE(clean_caption("caf\xe9"));
  EXPECT_FALSE(clean_caption("\xc0\x80"));
  EXPECT_FALSE(clean_caption("\xed\xa0\x80"));  // half a surrogate pair
}

TEST(CaptionText, KeysIgnoreTheCaseOfAsciiLetters) {
  EXPECT_EQ(key_of_caption("A Red Fox"), "a red fox");
  EXPECT_EQ(key_of_caption("\u00c9t\u00e9"), "\u00c9t\u00e9");
}

}  // namespace
}  // namespace soup
