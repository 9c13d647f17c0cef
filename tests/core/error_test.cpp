// Errors: exit codes are a promise to scripts, messages carry place, key path and hint.
#include "core/error.hpp"

#include <gtest/gtest.h>

namespace soup {
namespace {

TEST(Error, ExitCodesAreTheDocumentedNumbers) {
  EXPECT_EQ(static_cast<int>(ConfigError("x").exit_code()), 2);
  EXPECT_EQ(static_cast<int>(DataError("f", "x").exit_code()), 3);
  EXPECT_EQ(static_cast<int>(CommError("MPI_Allreduce", "x").exit_code()), 4);
  EXPECT_EQ(static_cast<int>(InvariantError("x").exit_code()), 70);
  EXPECT_EQ(static_cast<int>(Interrupted("x").exit_code()), 75);
}

TEST(Error, ConfigErrorNamesPlaceAndKey) {
  const ConfigError error("a.yaml:7", "data.shards[2].name", "is 3 instead of text", "quote it");
  EXPECT_STREQ(error.what(), "a.yaml:7: data.shards[2].name: is 3 instead of text\n  hint: quote it");
  EXPECT_EQ(error.message(), "a.yaml:7: data.shards[2].name: is 3 instead of text");
  EXPECT_EQ(error.hint(), "quote it");
}

TEST(Error, MissingPartsLeaveNoEmptyColons) {
  EXPECT_STREQ(ConfigError("a.yaml:7", "", "tabs are not allowed").what(), "a.yaml:7: tabs are not allowed");
  EXPECT_STREQ(DataError("", "nothing").what(), "nothing");
}

TEST(Error, AllAreCaughtAsTheBase) {
  EXPECT_THROW(throw DataError("f", "x"), Error);
  EXPECT_THROW(throw Interrupted("x"), Error);
}

TEST(Error, RequireThrowsWithPlaceAndConditionOnlyWhenFalse) {
  const int two = 2;
  EXPECT_NO_THROW(SOUP_REQUIRE(two == 2, "never"));
  try {
    SOUP_REQUIRE(two == 3, "two is " + std::to_string(two));
    FAIL() << "nothing was thrown";
  } catch (const InvariantError& error) {
    EXPECT_NE(error.message().find("error_test.cpp:"), std::string::npos);
    EXPECT_NE(error.message().find("two is 2"), std::string::npos);
    EXPECT_NE(error.message().find("[two == 3]"), std::string::npos);
  }
}

}  // namespace
}  // namespace soup
