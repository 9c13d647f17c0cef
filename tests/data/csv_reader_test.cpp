// CSV as RFC 4180 has it, and what it does not have.
#include "data/csv_reader.hpp"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows read(const std::string& text) {
  std::istringstream in(text);
  CsvReader reader(in, "m.csv");
  Rows rows;
  CsvRecord record;
  while (reader.read(record)) {
    rows.push_back(record.fields);
  }
  return rows;
}

std::string error_of(const std::string& text) {
  return test::data_error([&] { read(text); });
}

TEST(CsvReader, QuotesCommasAndLineEnds) {
  EXPECT_EQ(read("a,b\n1,2\n"), (Rows{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read("a,b\r\n1,2"), (Rows{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read("\"x, \"\"y\"\"\",\"two\r\nlines\"\n"), (Rows{{"x, \"y\"", "two\r\nlines"}}));
  EXPECT_EQ(read("a,,\n\"\",b\n"), (Rows{{"a", "", ""}, {"", "b"}}));
  EXPECT_EQ(read("\xef\xbb\xbf"
                 "a\n\n\r\nb\n"),
            (Rows{{"a"}, {"b"}}));
  EXPECT_EQ(read(""), Rows{});
  EXPECT_EQ(read("a\rb\n"), (Rows{{"a\rb"}}));  // a lone CR is no line end
}

TEST(CsvReader, SaysWhereARecordBegins) {
  const std::string text = "a,b\n\"1\n2\",3\n4,5\n";
  std::istringstream in(text);
  CsvReader reader(in, "m.csv");
  CsvRecord record;
  reader.read(record);
  EXPECT_EQ(record.offset, 0U);
  EXPECT_EQ(record.line, 1U);
  reader.read(record);
  EXPECT_EQ(record.offset, 4U);
  EXPECT_EQ(record.line, 2U);
  reader.read(record);
  EXPECT_EQ(record.offset, 12U);
  EXPECT_EQ(record.line, 4U);
  in.clear();
  in.seekg(4);
  CsvReader again(in, "m.csv", 4, 2);
  again.read(record);
  EXPECT_EQ(record.fields, (std::vector<std::string>{"1\n2", "3"}));
}

TEST(CsvReader, WhatCannotBeDividedIsRefusedWithItsLine) {
  EXPECT_THAT(error_of("a\n\"b"), testing::AllOf(testing::HasSubstr("m.csv"), testing::HasSubstr("line 2"),
                                                 testing::HasSubstr("left open")));
  EXPECT_THAT(error_of("a\nb\"c\"\n"),
              testing::AllOf(testing::HasSubstr("line 2"), testing::HasSubstr("quote inside")));
  EXPECT_THAT(error_of("\"a\"b\n"), testing::HasSubstr("behind a closing quote"));
  EXPECT_THAT(error_of("\"" + std::string((1U << 20) + 10, 'a')), testing::HasSubstr("1 MiB"));
}

}  // namespace
}  // namespace soup
