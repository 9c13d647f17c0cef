// Pieces of HTML: escaping, numbers, embedded bytes.
#include "experiments/html.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <span>
#include <string>

namespace soup {
namespace {

TEST(Html, EscapesWhatIsMarkup) {
  EXPECT_EQ(escaped("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
}

TEST(Html, GroupsThousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
}

TEST(Html, WritesNumbers) {
  EXPECT_EQ(decimal(0.3124, 3), "0.312");
  EXPECT_EQ(decimal(-0.3126, 3), "−0.313");
  EXPECT_EQ(decimal(-0.0001, 3), "0.000");
  EXPECT_EQ(decimal(std::nan(""), 3), "–");
  EXPECT_EQ(with_error({1.5, 0.25, 9}, 2), "1.50 <span class=\"se\">±0.25</span>");
  EXPECT_EQ(with_error({1.5, std::nan(""), 1}, 2), "1.50");
}

TEST(Html, EmbedsBytes) {
  // RFC 4648, section 10.
  const auto uri = [](const std::string& text) { return data_uri("text/plain", std::as_bytes(std::span(text))); };
  EXPECT_EQ(uri(""), "data:text/plain;base64,");
  EXPECT_EQ(uri("f"), "data:text/plain;base64,Zg==");
  EXPECT_EQ(uri("fooba"), "data:text/plain;base64,Zm9vYmE=");
  EXPECT_EQ(uri("foobar"), "data:text/plain;base64,Zm9vYmFy");
}

}  // namespace
}  // namespace soup
