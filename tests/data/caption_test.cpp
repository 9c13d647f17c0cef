// The text a model sees, from caption and style.
#include "data/caption.hpp"

#include <gtest/gtest.h>

namespace soup {
namespace {

TEST(StyledCaption, NamesTheStyleAfterTheCaption) {
  EXPECT_EQ(styled_caption("devices printer network", "oxygen"), "devices printer network, oxygen style");
  EXPECT_EQ(styled_caption("devices printer network", ""), "devices printer network");
  EXPECT_EQ(styled_caption("", "oxygen"), "oxygen style");
  EXPECT_EQ(styled_caption("", ""), "");
}

}  // namespace
}  // namespace soup
