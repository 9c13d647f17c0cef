// The byte form that is signed, as Python's json module writes it.
#include "merge/canonical_json.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace soup {
namespace {

using nlohmann::json;

// Expected: json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) of Python 3.11.
TEST(CanonicalJson, IsWhatPythonWrites) {
  const json value = {
      {"b",
       {1, -2, 0.1, 1e-7, 3.0, 1e22, 1e16, 123456789012345.0, 5e-324, 0.30000000000000004, 1.5e-5, 0.0001, INT64_MIN}},
      {"a", {{"é", "\"\\\n\u0001é/"}, {"", nullptr}}},
      {"c", true},
      {"none", json::array()},
      {"empty", json::object()},
      {"B", -0.0}};
  EXPECT_EQ(canonical_json(value),
            R"({"B":-0.0,"a":{"":null,"é":"\"\\\n\u0001é/"},"b":[1,-2,0.1,1e-07,3.0,1e+22,1e+16,123456789012345.0,)"
            R"(5e-324,0.30000000000000004,1.5e-05,0.0001,-9223372036854775808],"c":true,"empty":{},"none":[]})");
}

TEST(CanonicalJson, DoesNotDependOnHowTheTextWasLaidOut) {
  EXPECT_EQ(canonical_json(json::parse(" {\"b\" : [ 1.50, 2 ],\n \"a\":\"\\u00e9\"} ")), R"({"a":"é","b":[1.5,2]})");
}

TEST(CanonicalJson, RefusesWhatJsonCannotHold) {
  EXPECT_THROW(canonical_json(json(std::numeric_limits<double>::infinity())), InvariantError);
}

}  // namespace
}  // namespace soup
