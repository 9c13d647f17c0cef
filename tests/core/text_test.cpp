// Text helpers: UTF-8 edge cases, suggestions, quantities for people.
#include "core/text.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace soup {
namespace {

using Strings = std::vector<std::string>;

TEST(Text, ExcerptsAreShortAndUtf8WhateverTheTextIs) {
  EXPECT_EQ(excerpt("abc", 3), "abc");
  EXPECT_EQ(excerpt("abcd", 3), "abc...");
  EXPECT_EQ(excerpt("", 0), "");
  EXPECT_EQ(excerpt("abc", 0), "...");
  EXPECT_EQ(excerpt("a\xC3\xA4z", 3), "a\xC3\xA4...");
  EXPECT_EQ(excerpt("a\xC3\xA4z", 2), "a...");                   // not within a character
  EXPECT_EQ(excerpt("\xF0\x9F\x98\x80z", 3), "...");             // of four bytes
  EXPECT_EQ(excerpt("a\xFFz"), "a\xEF\xBF\xBDz");                // U+FFFD for what is no UTF-8
  EXPECT_EQ(excerpt("\xC3"), "\xEF\xBF\xBD");                    // and for what the text cuts
  EXPECT_TRUE(is_utf8(excerpt(std::string(1000, '\x80'), 80)));  // continuation bytes alone
  EXPECT_EQ(excerpt(std::string(81, 'x')), std::string(80, 'x') + "...");
}

TEST(Text, NearestLooksAtNoWordThatIsFarTooLong) {
  const std::vector<std::string> words = {"weight_map"};
  EXPECT_EQ(nearest(std::string(100'000'000, 'w'), words), "");
}

TEST(Utf8, AcceptsWhatUnicodeAllows) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("plain"));
  EXPECT_TRUE(is_utf8("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x8D\xB2"));  // a-umlaut, euro sign, pot of food
  EXPECT_TRUE(is_utf8("\xF4\x8F\xBF\xBF"));                      // U+10FFFF
  EXPECT_TRUE(is_utf8(std::string_view("a\0b", 3)));
}

TEST(Utf8, RefusesBrokenSequences) {
  EXPECT_FALSE(is_utf8("\x80"));              // continuation alone
  EXPECT_FALSE(is_utf8("\xC3"));              // cut short
  EXPECT_FALSE(is_utf8("\xE2\x82"));          // cut short
  EXPECT_FALSE(is_utf8("\xC0\xAF"));          // overlong
  EXPECT_FALSE(is_utf8("\xE0\x80\xAF"));      // overlong
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));      // surrogate
  EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80"));  // above U+10FFFF
  EXPECT_FALSE(is_utf8("latin \xE4 one"));
}

TEST(Nearest, SuggestsTyposOnly) {
  const Strings keys = {"learning_rate", "batch_images", "seed", "ema"};
  EXPECT_EQ(nearest("learing_rate", keys), "learning_rate");
  EXPECT_EQ(nearest("Batch_Images", keys), "batch_images");
  EXPECT_EQ(nearest("sede", keys), "seed");  // a swap is one edit
  EXPECT_EQ(nearest("colour", keys), "");
  EXPECT_EQ(nearest("x", keys), "");
  EXPECT_EQ(nearest("", keys), "");
  EXPECT_EQ(nearest("seed", {}), "");
}

TEST(Nearest, TakesTheFirstOfTheNearest) {
  const Strings keys = {"shards", "shard"};
  EXPECT_EQ(nearest("shard", keys), "shard");
  EXPECT_EQ(nearest("shart", keys), "shard");
}

TEST(HumanBytes, PicksTheUnit) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(340 * 1024.0), "340 KiB");
  EXPECT_EQ(human_bytes(1024 * 1024.0 - 1), "1.0 MiB");  // never "1024 KiB"
  EXPECT_EQ(human_bytes(1.2 * 1024 * 1024 * 1024), "1.2 GiB");
  EXPECT_EQ(human_bytes(9.96 * 1024), "10 KiB");
}

TEST(HumanSeconds, PicksTheUnits) {
  EXPECT_EQ(human_seconds(0.4), "0.4 s");
  EXPECT_EQ(human_seconds(12.2), "12 s");
  EXPECT_EQ(human_seconds(59.7), "1 min 00 s");
  EXPECT_EQ(human_seconds(250), "4 min 10 s");
  EXPECT_EQ(human_seconds(3599.6), "1 h 00 min");
  EXPECT_EQ(human_seconds(2 * 3600 + 3 * 60), "2 h 03 min");
  EXPECT_EQ(human_seconds(100 * 3600), "100 h 00 min");
  EXPECT_EQ(human_seconds(std::numeric_limits<double>::infinity()), "unknown");
  EXPECT_EQ(human_seconds(std::numeric_limits<double>::quiet_NaN()), "unknown");
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("a,b,c", ','), (Strings{"a", "b", "c"}));
  EXPECT_EQ(split(",a,", ','), (Strings{"", "a", ""}));
  EXPECT_EQ(split("", ','), Strings{""});
  EXPECT_EQ(split("abc", ','), Strings{"abc"});
}

TEST(Text, PatternsMatchTheWholeText) {
  EXPECT_TRUE(matches_pattern("", ""));
  EXPECT_TRUE(matches_pattern("", "*"));
  EXPECT_FALSE(matches_pattern("", "a"));
  EXPECT_TRUE(matches_pattern("unet.mid_block.attentions.0", "unet.mid_block.*"));
  EXPECT_TRUE(matches_pattern("unet.mid_block.attentions.0", "*attentions*"));
  EXPECT_TRUE(matches_pattern("unet.mid_block.attentions.0", "*.0"));
  EXPECT_FALSE(matches_pattern("unet.mid_block.attentions.0", "attentions"));
  EXPECT_FALSE(matches_pattern("unet.mid_block.attentions.0", "unet"));
  EXPECT_TRUE(matches_pattern("aaab", "*a*b"));
  EXPECT_TRUE(matches_pattern("abcabd", "*ab*d")) << "the star has to take more than its first chance";
  EXPECT_FALSE(matches_pattern("abcabd", "*abd*c"));
  EXPECT_TRUE(matches_pattern("ab", "a**b"));
  EXPECT_FALSE(matches_pattern(std::string(2000, 'a'), "*a*a*a*a*a*a*a*a*a*b")) << "in no long time";
}

}  // namespace
}  // namespace soup
