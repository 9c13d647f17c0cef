// Lines of text as images: size, baseline, what is no text, and shortening.
#include "data/image_text.hpp"

#include <gtest/gtest.h>

#include "data/image.hpp"

namespace soup {
namespace {

struct Extent {
  int first = -1;
  int last = -1;
};

// Rows with ink: darker than half.
Extent rows_of_ink(const Image& image) {
  Extent rows;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      if (image.pixels[(static_cast<std::size_t>(y) * image.width + x) * 3] < 128) {
        rows = {rows.first < 0 ? y : rows.first, y};
      }
    }
  }
  return rows;
}

TEST(DrawText, IsGreyOnWhiteOfTheHeightAskedFor) {
  for (const int height : {8, 16, 48}) {
    const Image line = draw_text("oxygen", height);
    EXPECT_EQ(line.height, height);
    EXPECT_EQ(line.channels, 3);
    EXPECT_GT(line.width, height);
    EXPECT_LT(line.width, 6 * height);
    ASSERT_EQ(line.pixels.size(), static_cast<std::size_t>(line.width) * height * 3);
    for (std::size_t i = 0; i < line.pixels.size(); i += 3) {
      ASSERT_EQ(line.pixels[i], line.pixels[i + 1]);
      ASSERT_EQ(line.pixels[i], line.pixels[i + 2]);
    }
  }
}

TEST(DrawText, TheBaselineIsTheSameForAllTexts) {
  const Extent low = rows_of_ink(draw_text("xzv", 40));
  const Extent high = rows_of_ink(draw_text("HEZ", 40));
  const Extent deep = rows_of_ink(draw_text("pqg", 40));
  EXPECT_NEAR(low.last, high.last, 1);
  EXPECT_LT(high.first, low.first);
  EXPECT_GT(deep.last, low.last);
  EXPECT_LT(deep.last, 39) << "descenders are not cut off";
  EXPECT_GT(rows_of_ink(draw_text("\xC3\x85", 40)).first, 0) << "nor is the ring of a capital A";
}

TEST(DrawText, TakesAnyBytes) {
  EXPECT_EQ(draw_text("", 16).width, 1);
  EXPECT_EQ(draw_text(" \n\t", 16).width, 1);
  // Markup is text; a line break is a space; what is not UTF-8 is something.
  EXPECT_GT(draw_text("<b>x</b>", 16).width, draw_text("x", 16).width);
  EXPECT_GT(draw_text("a&b", 16).width, draw_text("ab", 16).width);
  EXPECT_EQ(draw_text("a\nb", 16).pixels, draw_text("a b", 16).pixels);
  EXPECT_EQ(draw_text("a\xFFz", 16).pixels, draw_text("a\xEF\xBF\xBDz", 16).pixels);
}

TEST(DrawTextWithin, ShortensOnlyWhatIsTooLong) {
  const Image whole = draw_text("elementary-xfce", 16);
  EXPECT_EQ(draw_text_within("elementary-xfce", 16, whole.width).pixels, whole.pixels);
  const Image cut = draw_text_within("elementary-xfce", 16, whole.width - 1);
  EXPECT_LT(cut.width, whole.width);
  bool is_beginning = false;
  for (std::size_t bytes = 1; bytes < 15; ++bytes) {
    is_beginning =
        is_beginning || cut.pixels == draw_text(std::string("elementary-xfce").substr(0, bytes) + "...", 16).pixels;
  }
  EXPECT_TRUE(is_beginning);
  EXPECT_LE(draw_text_within("elementary-xfce", 16, 40).width, 40);
  EXPECT_EQ(draw_text_within("elementary-xfce", 16, 3).width, 1) << "not even the dots fit";
}

}  // namespace
}  // namespace soup
