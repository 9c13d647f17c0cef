// metadata.jsonl and metadata.csv: rows in order, rows again by where they begin, and rows that cannot be used.
#include "data/metadata_rows.hpp"

#include <gtest/gtest.h>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

class MetadataRows : public testing::Test {
 protected:
  std::vector<MetadataRow> rows(const std::string& name, const std::string& text, const std::string& key = "") {
    test::write_text(folder_ / name, text);
    const MetadataFile file(folder_ / name, "text", key);
    std::vector<MetadataRow> all;
    file.each_row([&](const MetadataRow& row) {
      all.push_back(row);
      const MetadataRow again = file.row_at(row.offset);
      EXPECT_EQ(again.file_name, row.file_name);
      EXPECT_EQ(again.caption, row.caption);
      EXPECT_EQ(again.problem, row.problem);
      EXPECT_EQ(file.line_of(row.offset), row.line);
    });
    return all;
  }
  std::string error_of(const std::string& name, const std::string& text) {
    return test::data_error([&] { rows(name, text, "id"); });
  }
  test::TemporaryFolder folder_;
};

TEST_F(MetadataRows, OfJsonLines) {
  const auto all = rows("metadata.jsonl",
                        "{\"file_name\": \"a.png\", \"text\": \"caf\\u00e9\", \"id\": 7}\n\n"
                        "{\"text\": null, \"file_name\": \"b/c.jpg\"}\r\n{\"file_name\":\"d.png\",\"text\":\"last\"}",
                        "id");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].file_name, "a.png");
  EXPECT_EQ(all[0].caption, "caf\u00e9");
  EXPECT_EQ(all[0].key, "7");
  EXPECT_EQ(all[0].line, 1U);
  EXPECT_EQ(all[1].file_name, "b/c.jpg");
  EXPECT_EQ(all[1].caption, std::nullopt);
  EXPECT_EQ(all[1].key, std::nullopt);
  EXPECT_EQ(all[1].line, 3U);
  EXPECT_EQ(all[2].caption, "last");
  EXPECT_EQ(all[2].line, 4U);
}

TEST_F(MetadataRows, OfCsv) {
  const auto all = rows("metadata.csv", "id,file_name,text\r\n1,a.png,\"two\nlines, quoted\"\r\n2,b.png,\r\n", "id");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].file_name, "a.png");
  EXPECT_EQ(all[0].caption, "two\nlines, quoted");
  EXPECT_EQ(all[0].key, "1");
  EXPECT_EQ(all[0].line, 2U);
  EXPECT_EQ(all[1].caption, std::nullopt);
  EXPECT_EQ(all[1].line, 4U);
}

TEST_F(MetadataRows, LongLinesAreReadWhole) {
  const std::string caption(100'000, 'x');
  const auto all = rows("metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"" + caption +
                                              "\"}\n{\"file_name\": \"b.png\", \"text\": \"b\"}\n");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].caption, caption);
  EXPECT_EQ(all[1].file_name, "b.png");
}

TEST_F(MetadataRows, RowsThatCannotBeUsedSayWhy) {
  const auto json = rows("metadata.jsonl",
                         "not json\n[1]\n{\"text\": \"x\"}\n{\"file_name\": 3}\n"
                         "{\"file_name\": \"a.png\", \"text\": [1]}\n{\"file_name\": \"\"}\n");
  ASSERT_EQ(json.size(), 6U);
  for (const MetadataRow& row : json) {
    EXPECT_FALSE(row.problem.empty()) << row.line;
  }
  EXPECT_THAT(json[4].problem, HasSubstr("neither text nor number"));
  const auto csv = rows("metadata.csv", "file_name,text\na.png\n,x\na,b,c\nb.png,good\n");
  ASSERT_EQ(csv.size(), 4U);
  EXPECT_THAT(csv[0].problem, HasSubstr("has 1 fields; the first line has 2"));
  EXPECT_THAT(csv[1].problem, HasSubstr("names no file"));
  EXPECT_FALSE(csv[2].problem.empty());
  EXPECT_TRUE(csv[3].problem.empty());
}

TEST_F(MetadataRows, FilesThatCannotBeUsedAreRefused) {
  EXPECT_THAT(error_of("metadata.csv", ""), HasSubstr("is empty"));
  EXPECT_THAT(error_of("metadata.csv", "name,text\n"), HasSubstr("no column \"file_name\""));
  EXPECT_THAT(error_of("metadata.csv", "file_name,text\n"), HasSubstr("no column \"id\""));
  EXPECT_THAT(error_of("metadata.csv", "file_name,file_name,id\n"), HasSubstr("two columns"));
  EXPECT_THAT(error_of("metadata.csv", "file_name,id\n\"a\n"), HasSubstr("left open"));
  EXPECT_THAT(error_of("metadata.jsonl", std::string((1U << 20) + 20'000, ' ')), HasSubstr("longer than 1 MiB"));
  EXPECT_THAT(test::data_error([&] { MetadataFile(folder_ / "missing.jsonl", "text", ""); }), HasSubstr("missing"));
}

}  // namespace
}  // namespace soup
