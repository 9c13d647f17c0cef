// The picture of a sweep: every cell exactly where its weights belong, labels beside them.
#include "experiments/sweep_picture.hpp"

#include <gmock/gmock.h>

#include "core/error.hpp"

namespace soup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Sweep sweep_of(std::size_t inputs, int steps) {
  Sweep sweep{"soup", "mean", steps, {}, {}};
  for (std::size_t i = 0; i < inputs; ++i) {
    sweep.inputs.push_back({std::string("theme") + static_cast<char>('A' + i), "x"});
  }
  for (const GridWeights& weights : simplex_grid(inputs, steps)) {
    sweep.points.push_back({weights, point_name(weights, steps), {}});
  }
  return sweep;
}

std::vector<SheetPlace> places(const SweepLayout& layout, std::size_t image) {
  std::vector<SheetPlace> result;
  for (const std::vector<SheetPlace>& point : layout.cells) {
    result.push_back(point.at(image));
  }
  return result;
}

const SheetLabel& label(const SweepLayout& layout, const std::string& text) {
  for (const SheetLabel& each : layout.labels) {
    if (each.text == text) {
      return each;
    }
  }
  throw std::runtime_error("no label " + text);
}

// Cells of 32 pixels: 2 between them, lines and margins of 14.
const std::vector<std::string> two_captions{"devices printer", "places folder"};

TEST(SweepLayout, TwoInputsAreColumnsFromTheFirstToTheSecond) {
  const SweepLayout layout = sweep_layout(sweep_of(2, 2), two_captions, 1, 32);
  EXPECT_EQ(layout.width, 128);
  EXPECT_EQ(layout.height, 156);
  EXPECT_THAT(places(layout, 0), ElementsAre(SheetPlace{14, 53}, SheetPlace{48, 53}, SheetPlace{82, 53}));
  EXPECT_THAT(places(layout, 1), ElementsAre(SheetPlace{14, 110}, SheetPlace{48, 110}, SheetPlace{82, 110}));
  EXPECT_EQ(label(layout, "themeA").place, (SheetPlace{14, 14}));
  EXPECT_EQ(label(layout, "1-1").place, (SheetPlace{48, 14}));
  EXPECT_EQ(label(layout, "themeB").place, (SheetPlace{82, 14}));
  EXPECT_EQ(label(layout, "devices printer").place, (SheetPlace{14, 37}));
  EXPECT_EQ(label(layout, "devices printer").width, 100);
  EXPECT_EQ(label(layout, "places folder").place, (SheetPlace{14, 94}));
}

TEST(SweepLayout, ThreeInputsAreATriangleWithTheFirstOnTop) {
  const SweepLayout layout = sweep_layout(sweep_of(3, 2), two_captions, 2, 32);
  // 2-0-0, then 1-1-0 and 1-0-1, then 0-2-0, 0-1-1 and 0-0-2.
  EXPECT_THAT(places(layout, 0), ElementsAre(SheetPlace{48, 32}, SheetPlace{31, 82}, SheetPlace{65, 82},
                                             SheetPlace{14, 132}, SheetPlace{48, 132}, SheetPlace{82, 132}));
  for (std::size_t point = 0; point < 6; ++point) {
    const SheetPlace first = layout.cells[point][0];
    EXPECT_EQ(layout.cells[point][1], (SheetPlace{first.left, first.top + 164})) << "its second image is below";
    EXPECT_EQ(layout.cells[point][2], (SheetPlace{first.left + 116, first.top})) << "the second caption is beside it";
  }
  EXPECT_EQ(layout.width, 244);
  EXPECT_EQ(layout.height, 360);
  EXPECT_EQ(label(layout, "themeA").place, (SheetPlace{48, 66}));
  EXPECT_EQ(label(layout, "themeB").place, (SheetPlace{14, 166}));
  EXPECT_EQ(label(layout, "themeC").place, (SheetPlace{82, 166}));
  EXPECT_EQ(label(layout, "0-1-1").place, (SheetPlace{48, 166}));
  EXPECT_EQ(label(layout, "places folder").place, (SheetPlace{130, 14}));
}

TEST(SweepLayout, MoreInputsAreARowPerPoint) {
  const SweepLayout layout = sweep_layout(sweep_of(4, 1), two_captions, 2, 32);
  EXPECT_THAT(layout.cells[0],
              ElementsAre(SheetPlace{92, 58}, SheetPlace{126, 58}, SheetPlace{172, 58}, SheetPlace{206, 58}));
  EXPECT_THAT(places(layout, 0),
              ElementsAre(SheetPlace{92, 58}, SheetPlace{92, 92}, SheetPlace{92, 126}, SheetPlace{92, 160}));
  EXPECT_EQ(layout.width, 252);
  EXPECT_EQ(layout.height, 206);
  EXPECT_EQ(label(layout, "themeD").place, (SheetPlace{14, 160}));
  EXPECT_EQ(label(layout, "places folder").place, (SheetPlace{172, 14}));
  EXPECT_EQ(label(sweep_layout(sweep_of(4, 2), two_captions, 2, 32), "1 themeB, 1 themeD").place,
            (SheetPlace{14, 58 + 34 * 6}));
}

TEST(SweepLayout, SheetsHaveALimit) {
  const std::vector<std::string> many(1000, "x");
  try {
    sweep_layout(sweep_of(3, 10), many, 4096, 2048);
    ADD_FAILURE() << "a sheet of a terapixel";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("at most 268 million"));
  }
}

class DrawSweep : public testing::TestWithParam<std::size_t> {};

TEST_P(DrawSweep, PutsEveryImageInItsPlace) {
  const Sweep sweep = sweep_of(GetParam(), 3);
  const SweepLayout layout = sweep_layout(sweep, two_captions, 2, 32);
  std::vector<std::vector<Image>> images;
  for (std::size_t point = 0; point < sweep.points.size(); ++point) {
    for (std::size_t i = 0; i < 4; ++i) {
      Image image = white_image(16, 16);
      for (std::size_t k = 0; k < image.pixels.size(); k += 3) {
        image.pixels[k] = static_cast<std::uint8_t>(point * 10);
        image.pixels[k + 1] = static_cast<std::uint8_t>(i * 40);
        image.pixels[k + 2] = static_cast<std::uint8_t>(k / 3);  // another in every pixel
      }
      images.resize(point + 1);
      images.back().push_back(image);
    }
  }
  const Image sheet = draw_sweep(layout, images, 2);
  ASSERT_EQ(sheet.width, layout.width);
  ASSERT_EQ(sheet.height, layout.height);
  std::vector<bool> covered(static_cast<std::size_t>(sheet.width) * sheet.height, false);
  for (std::size_t point = 0; point < images.size(); ++point) {
    for (std::size_t i = 0; i < 4; ++i) {
      const SheetPlace place = layout.cells[point][i];
      for (int y = 0; y < 32; ++y) {
        for (int x = 0; x < 32; ++x) {
          const std::size_t at = static_cast<std::size_t>(place.top + y) * sheet.width + place.left + x;
          ASSERT_FALSE(covered.at(at)) << "two cells overlap";
          covered[at] = true;
          ASSERT_EQ(sheet.pixels[at * 3], point * 10);
          ASSERT_EQ(sheet.pixels[at * 3 + 1], i * 40);
          ASSERT_EQ(sheet.pixels[at * 3 + 2], y / 2 * 16 + x / 2);
        }
      }
    }
  }
  // Everything else is grey ink on white, and ink is only where labels are.
  std::vector<bool> labelled(covered.size(), false);
  for (const SheetLabel& each : layout.labels) {
    for (int y = 0; y < layout.line * each.lines; ++y) {
      for (int x = 0; x < each.width; ++x) {
        labelled.at(static_cast<std::size_t>(each.place.top + y) * sheet.width + each.place.left + x) = true;
      }
    }
  }
  std::size_t ink = 0;
  for (std::size_t at = 0; at < covered.size(); ++at) {
    if (!covered[at] && sheet.pixels[at * 3] < 128) {
      ASSERT_TRUE(labelled[at]) << at % sheet.width << ", " << at / sheet.width;
      ++ink;
    }
  }
  EXPECT_GT(ink, 100u);
}

INSTANTIATE_TEST_SUITE_P(Inputs, DrawSweep, testing::Values(2, 3, 4));

}  // namespace
}  // namespace soup
