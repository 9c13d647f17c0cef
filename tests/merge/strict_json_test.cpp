// JSON from elsewhere: what is refused, and that the message stays short and readable whatever the file holds.
#include "merge/strict_json.hpp"

#include <gmock/gmock.h>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

template <typename Act>
std::string refusal(const Act& act) {
  try {
    act();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), StartsWith("x.json: "));
    EXPECT_TRUE(is_utf8(error.what()));
    EXPECT_LT(std::string(error.what()).size(), 2000);
    return error.message();
  }
  return "accepted";
}

std::string refusal_of(const std::string& text) {
  return refusal([&] { static_cast<void>(parse_json(text, "x.json")); });
}

TEST(StrictJson, OneValueWithoutRepeatedKeys) {
  EXPECT_EQ(refusal_of(R"({"b":{"a":1},"a":2})"), "accepted");
  EXPECT_THAT(refusal_of(R"({"a":1,"a":2})"), HasSubstr("key \"a\" appears twice in one object"));
  EXPECT_THAT(refusal_of(R"({"b":{"a":1,"a":2}})"), HasSubstr("key \"a\" appears twice in one object"));
  for (const char* text : {"", "{", "{} {}", "[1,]", "{\"a\": \xff}", "nan", "{'a': 1}", "1e999"}) {
    EXPECT_THAT(refusal_of(text), HasSubstr("not valid JSON")) << text;
  }
  EXPECT_THROW(static_cast<void>(read_json("/nowhere/at/all.json")), DataError);
}

TEST(StrictJson, NothingIsHiddenBehindANul) {
  EXPECT_THAT(refusal_of(std::string("{}\0[", 4)), HasSubstr("byte 2 is a NUL"));
}

TEST(StrictJson, DepthIsBounded) {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_EQ(refusal_of(nested(60)), "accepted");
  EXPECT_THAT(refusal_of(nested(70)), HasSubstr("nested deeper than 64 levels"));
  EXPECT_THAT(refusal_of(std::string(10'000'000, '[')), HasSubstr("nested deeper than 64 levels"));
}

TEST(StrictJson, MessagesStayShortAndUtf8) {
  EXPECT_THAT(refusal_of("\"\xFF\""), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal_of('"' + std::string(1'000'000, 'x')), HasSubstr("not valid JSON"));
  const std::string key(1'000'000, 'k');
  EXPECT_THAT(refusal_of("{\"" + key + "\":1,\"" + key + "\":1}"), HasSubstr("appears twice"));
  const nlohmann::json value = {{key, key}, {"list", std::vector<int>(1000, 1)}};
  StrictObject object(value, "x.json");
  EXPECT_THAT(refusal([&] { static_cast<void>(object.integer(key, 0)); }), HasSubstr("not an integer"));
  EXPECT_THAT(refusal([&] { static_cast<void>(object.digest(key)); }), HasSubstr("not the 64 hex digits"));
  EXPECT_THAT(refusal([&] { static_cast<void>(object.object(key)); }), HasSubstr("not an object"));
  EXPECT_THAT(refusal([&] { static_cast<void>(object.integer("list", 0)); }), HasSubstr("list is [1,1,1"));
  EXPECT_THAT(refusal([&] { StrictObject(value, "x.json").done(); }), HasSubstr("is not a known key"));
}

}  // namespace
}  // namespace soup
