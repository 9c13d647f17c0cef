// Plots are inline SVG in the page's own colours.
#include "experiments/plot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace soup {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(Plot, IsAnSvgElementWithItsTitles) {
  const std::string svg = draw_svg({"p",
                                    "images seen",
                                    "loss",
                                    true,
                                    {{"ingredient \"a_b\" <c>", {{1000, 1.0}, {2000, 0.5}, {3000, 0.25}}, 0, false}}});
  EXPECT_THAT(svg, StartsWith("<svg"));
  EXPECT_THAT(svg, HasSubstr("</svg>"));
  EXPECT_THAT(svg, HasSubstr("images seen"));
  EXPECT_THAT(svg, HasSubstr("ingredient"));
  EXPECT_THAT(svg, HasSubstr("a_b"));
  EXPECT_THAT(svg, HasSubstr("&lt;c"));
  EXPECT_THAT(svg, Not(HasSubstr("'black'")));
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
}

TEST(Plot, OneBadPointDoesNotStopIt) {
  EXPECT_THAT(draw_svg({"p", "x", "y", true, {{"c", {{1, 1.0}, {2, 0.0}, {3, 0.5}}, 3, true}}}), HasSubstr("<path"));
}

TEST(Plot, WithoutPointsIsABug) {
  EXPECT_THROW(static_cast<void>(draw_svg({"p", "x", "y", false, {}})), InvariantError);
  EXPECT_THROW(static_cast<void>(draw_svg({"p", "x", "y", false, {{"c", {}, 0, false}}})), InvariantError);
}

}  // namespace
}  // namespace soup
