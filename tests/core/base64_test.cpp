// Base64: the vectors of RFC 4648 section 10, and that nothing but what is written is read.
#include "core/base64.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <utility>

namespace soup {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Base64, VectorsOfRfc4648) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> vectors{{{"", ""},
                                                                                  {"f", "Zg=="},
                                                                                  {"fo", "Zm8="},
                                                                                  {"foo", "Zm9v"},
                                                                                  {"foob", "Zm9vYg=="},
                                                                                  {"fooba", "Zm9vYmE="},
                                                                                  {"foobar", "Zm9vYmFy"},
                                                                                  {"\xfb\xff\xfe", "+//+"}}};
  for (const auto& [plain, text] : vectors) {
    EXPECT_EQ(to_base64(bytes_of(plain)), text);
    const auto back = from_base64(text);
    ASSERT_TRUE(back.has_value()) << text;
    EXPECT_TRUE(std::ranges::equal(*back, bytes_of(plain))) << text;
  }
}

TEST(Base64, RefusesWhatItNeverWrites) {
  for (const char* text :
       {"Zg", "Zg=", "Zg===", "====", "Z===", "Zh==", "Zm9=", "Zm 9v", "Zm9v\n", "Zm-_", "=Zg=", "Zg==Zg=="}) {
    EXPECT_FALSE(from_base64(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace soup
