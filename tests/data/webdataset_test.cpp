// WebDataset tars: samples in order, names written with braces, and every kind of broken member.
#include "data/webdataset.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include "data/tar_reader.hpp"
#include "tests/data/pictures.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using test::tar_end;
using test::tar_member;
using testing::ElementsAre;
using testing::HasSubstr;

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class WebDataset : public testing::Test {
 protected:
  void tar(const std::string& name, const std::string& content) { test::write_text(folder_ / name, content); }
  [[nodiscard]] std::unique_ptr<CaptionedSource> open(const std::vector<std::string>& tars) const {
    return open_webdataset({.folder = folder_.path(), .tars = tars, .caption_key = "caption", .held_out_key = "uid"});
  }
  [[nodiscard]] std::vector<SourceItem> items(const std::vector<std::string>& tars = {"a.tar"}) const {
    const auto opened = open(tars);
    std::vector<SourceItem> all;
    while (auto item = opened->next()) {
      all.push_back(std::move(*item));
    }
    EXPECT_DOUBLE_EQ(opened->part_done(), 1.0);
    return all;
  }
  // The problem of the only item, or of the last of `count`.
  [[nodiscard]] std::string problem(const std::string& content, std::size_t count = 1) {
    tar("a.tar", content);
    const auto all = items();
    EXPECT_EQ(all.size(), count);
    return all.empty() ? "" : all.back().problem;
  }
  test::TemporaryFolder folder_;
};

TEST_F(WebDataset, SamplesAreMembersInARowOfOneKey) {
  tar("a.tar", tar_member("000.jpg", "picture 0") +
                   tar_member("000.json", "{\"caption\": \"not this\", \"uid\": \"u0\"}") +
                   tar_member("000.txt", "caption 0") + tar_member("d/001.PNG", "picture 1") +
                   tar_member("d/001.json", "{\"caption\": \"from json\", \"status\": \"success\", \"width\": 5}") +
                   tar_member("d/001.seg.npy", "passed over") + tar_member("002.webp", "picture 2") +
                   tar_member("002.json", "{\"caption\": null}") + tar_member("list.parquet", "no sample") + tar_end());
  const auto all = items();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].name, "a.tar/000.jpg");
  EXPECT_EQ(text_of(all[0].bytes), "picture 0");
  EXPECT_EQ(all[0].caption, "caption 0");
  EXPECT_EQ(all[0].key, "u0");
  EXPECT_EQ(all[1].name, "a.tar/d/001.PNG");
  EXPECT_EQ(all[1].caption, "from json");
  EXPECT_EQ(all[1].key, std::nullopt);
  EXPECT_EQ(all[2].caption, std::nullopt);
  for (const SourceItem& item : all) {
    EXPECT_EQ(item.problem, "");
  }
}

TEST_F(WebDataset, ManyTarsPlainAndCompressed) {
  const auto one = [](const std::string& key) { return tar_member(key + ".jpg", key) + tar_member(key + ".txt", key); };
  tar("00008.tar", one("a") + one("b") + tar_end());
  tar("00009.tar", one("c") + tar_end());
  gzFile zipped = gzopen((folder_ / "00010.tar").c_str(), "wb");
  const std::string content = one("d") + one("e") + tar_end();
  gzwrite(zipped, content.data(), static_cast<unsigned>(content.size()));
  gzclose(zipped);
  std::vector<std::string> captions;
  for (const SourceItem& item : items({"{00008..00010}.tar"})) {
    captions.push_back(*item.caption);
  }
  EXPECT_THAT(captions, ElementsAre("a", "b", "c", "d", "e"));
  // From every place the rest is the same.
  const auto whole = open({"{00008..00010}.tar"});
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const auto again = open({"{00008..00010}.tar"});
    again->seek(whole->place());
    for (std::size_t j = i; j < captions.size(); ++j) {
      ASSERT_EQ(again->next()->caption, captions[j]);
    }
    EXPECT_FALSE(again->next());
    whole->next();
  }
}

TEST_F(WebDataset, BrokenSamplesAreNamed) {
  const std::string good = tar_member("g.jpg", "x") + tar_member("g.txt", "good");
  EXPECT_THAT(problem(tar_member("a.txt", "x") + tar_end()), HasSubstr("has no picture"));
  EXPECT_THAT(problem(tar_member("a.jpg", "") + tar_end()), HasSubstr("is empty (0 bytes)"));
  EXPECT_THAT(problem(tar_member("a.jpg", "x") + tar_member("a.png", "y") + tar_end()), HasSubstr("two pictures"));
  EXPECT_THAT(problem(tar_member("a.jpg", "x") + tar_member("a.jpg", "y") + tar_end()),
              HasSubstr("two members that end in .jpg"));
  EXPECT_THAT(problem(tar_member("a.jpg", "x") + tar_member("a.json", "{") + tar_end()),
              HasSubstr("not a JSON object"));
  EXPECT_THAT(problem(tar_member("a.jpg", "x") + tar_member("a.json", "{\"uid\": []}") + tar_end()),
              HasSubstr("neither text nor number"));
  EXPECT_THAT(problem(tar_member("../a.jpg", "x") + tar_end()), HasSubstr("leads out"));
  EXPECT_THAT(problem(tar_member("/a.jpg", "x") + tar_end()), HasSubstr("leads out"));
  EXPECT_THAT(problem(tar_member("b/../../a.jpg", "x") + tar_end()), HasSubstr("leads out"));
  EXPECT_THAT(problem(tar_member("a.jpg", "/etc/passwd", '2') + tar_end()), HasSubstr("link"));
  EXPECT_THAT(problem(tar_member("a.jpg", "g.jpg", '1') + tar_end()), HasSubstr("link"));
  EXPECT_THAT(problem(good + tar_member("a.jpg", "x") + tar_member("g.json", "{}") + tar_end(), 3),
              HasSubstr("came before"));
  EXPECT_THAT(problem(tar_member("a.jpg", "x") + tar_member("a.txt", std::string((1U << 20) + 1, 'x')) + tar_end()),
              HasSubstr(".txt is longer than 1"));
}

TEST_F(WebDataset, TornTarsKeepWhatCameBefore) {
  const std::string whole = tar_member("a.jpg", std::string(2000, 'a')) + tar_member("a.txt", "good") +
                            tar_member("b.jpg", std::string(2000, 'b')) + tar_member("b.txt", "torn") + tar_end();
  for (const std::size_t length : {std::size_t{4000}, std::size_t{3800}}) {
    EXPECT_THAT(problem(whole.substr(0, length), 2), HasSubstr("is damaged"));
    EXPECT_EQ(items()[0].caption, "good");
    EXPECT_EQ(items()[1].name, "a.tar");
  }
  std::string flipped = whole;
  flipped[3584 + 20] ^= 1;  // in the header of b.jpg, which has a checksum
  EXPECT_THAT(problem(flipped, 2), HasSubstr("is damaged"));
  EXPECT_THAT(problem(""), HasSubstr("is empty (0 bytes)"));
  EXPECT_THAT(problem("no tar at all, but long enough to be looked at" + std::string(2000, '.')), HasSubstr("not a readable tar"));
  EXPECT_THAT(problem(tar_end()), HasSubstr("holds no samples"));
  // The next tar is read all the same.
  tar("b.tar", tar_member("c.jpg", "x") + tar_member("c.txt", "next") + tar_end());
  tar("a.tar", whole.substr(0, 3000));
  EXPECT_EQ(items({"a.tar", "b.tar"}).back().caption, "next");
}

TEST_F(WebDataset, NamesWithBracesAndWildcards) {
  for (const char* name : {"x-1.tar", "x-2.tar", "x-10.tar", "y-a.tar", "y-b.tar"}) {
    tar(name, "x");
  }
  const auto names = [&](const std::vector<std::string>& patterns) {
    std::vector<std::string> all;
    for (const fs::path& path : expand_tar_patterns({.folder = folder_.path(), .tars = patterns})) {
      all.push_back(path.filename().string());
    }
    return all;
  };
  EXPECT_THAT(names({"x-{1..2}.tar"}), ElementsAre("x-1.tar", "x-2.tar"));
  EXPECT_THAT(names({"y-{b,a}.tar", "x-1.tar"}), ElementsAre("y-b.tar", "y-a.tar", "x-1.tar"));
  EXPECT_THAT(names({"x-*.tar"}), ElementsAre("x-1.tar", "x-10.tar", "x-2.tar"));
  EXPECT_THAT(names({(folder_ / "x-{10..10}.tar").string()}), ElementsAre("x-10.tar"));
  EXPECT_THAT(test::data_error([&] { names({"z-*.tar"}); }), HasSubstr("no file has such a name"));
  EXPECT_THAT(test::data_error([&] { names({"x-{1..3}.tar"}); }), HasSubstr("x-3.tar"));
  EXPECT_THAT(test::data_error([&] { names({"x-1.tar", "x-*.tar"}); }), HasSubstr("twice"));
  for (const char* pattern : {"x-{1..2.tar", "x-{2..1}.tar", "x-{a..b}.tar", "x-{0..99999999}.tar"}) {
    EXPECT_THROW(names({pattern}), ConfigError) << pattern;
  }
  EXPECT_THROW(open({}), ConfigError);
}

TEST_F(WebDataset, ItsIdentityChangesWithItsTars) {
  tar("a.tar", tar_member("a.jpg", "x") + tar_end());
  const Digest first = open({"a.tar"})->identity();
  EXPECT_EQ(open({"*.tar"})->identity(), first);
  tar("b.tar", tar_member("b.jpg", "x") + tar_end());
  EXPECT_NE(open({"*.tar"})->identity(), first);
}

}  // namespace
}  // namespace soup
