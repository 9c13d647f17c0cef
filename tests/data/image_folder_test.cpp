// Folders of pictures: order, captions from metadata and from files beside, and paths that lead out.
#include "data/image_folder.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class ImageFolder : public testing::Test {
 protected:
  ImageFolder() { fs::create_directories(root_); }
  void file(const std::string& name, const std::string& content = "x") { test::write_text(root_ / name, content); }
  [[nodiscard]] ImageFolderSource source(const std::string& held_out_key = "") const {
    return {.path = root_, .caption_key = "text", .held_out_key = held_out_key};
  }
  std::vector<SourceItem> items() { return items(source()); }
  static std::vector<SourceItem> items(const ImageFolderSource& source) {
    const auto opened = open_image_folder(source);
    std::vector<SourceItem> all;
    while (auto item = opened->next()) {
      all.push_back(std::move(*item));
    }
    EXPECT_EQ(opened->total(), all.size());
    EXPECT_EQ(opened->place().item, all.size());
    return all;
  }
  std::vector<std::string> names() {
    std::vector<std::string> all;
    for (const SourceItem& item : items()) {
      all.push_back(item.name);
    }
    return all;
  }
  test::TemporaryFolder folder_;
  fs::path root_ = folder_ / "photos";
};

TEST_F(ImageFolder, PicturesComeInByteOrderOfTheirPaths) {
  for (const char* name :
       {"b.png", "a/z.JPG", "a/b/c.webp", "B.svg", "notes.md", ".hidden.png", ".git/x.png", "a.jpeg"}) {
    file(name);
  }
  EXPECT_THAT(names(), ElementsAre("B.svg", "a.jpeg", "a/b/c.webp", "a/z.JPG", "b.png"));
  const auto opened = open_image_folder(source());
  opened->seek({.part = 0, .item = 3});
  EXPECT_EQ(opened->next()->name, "a/z.JPG");
}

TEST_F(ImageFolder, CaptionsLieBesideThePictures) {
  file("a.png");
  file("a.txt", "from a text\n");
  file("b.jpg");
  file("b.caption", "from a caption");
  file("c.png");
  file("c.png.txt", "behind the whole name");
  file("d.png");
  const auto all = items();
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0].caption, "from a text\n");
  EXPECT_EQ(all[0].file, fs::canonical(root_) / "a.png");
  EXPECT_EQ(all[1].caption, "from a caption");
  EXPECT_EQ(all[2].caption, "behind the whole name");
  EXPECT_EQ(all[3].caption, std::nullopt);
  EXPECT_TRUE(all[3].problem.empty());
}

TEST_F(ImageFolder, MetadataCountsFirstAndFromItsOwnFolder) {
  for (const char* name : {"a.png", "train/b.png", "train/deep/c.png"}) {
    file(name);
  }
  file("a.txt", "not this one");
  file("metadata.csv", "file_name,text,id\na.png,\"one, two\",k1\n");
  file("train/metadata.jsonl",
       "{\"file_name\": \"deep/c.png\", \"text\": \"see\", \"id\": 5}\n{\"file_name\": \"./b.png\", \"text\": "
       "\"bee\"}\n");
  const auto all = items(source("id"));
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].caption, "one, two");
  EXPECT_EQ(all[0].key, "k1");
  EXPECT_EQ(all[1].caption, "bee");
  EXPECT_EQ(all[2].caption, "see");
  EXPECT_EQ(all[2].key, "5");
}

TEST_F(ImageFolder, RowsWithoutAPictureAreNamed) {
  file("a.png");
  file("b.dat");
  file("sub/metadata.jsonl",
       "{\"file_name\": \"../a.png\", \"text\": \"inside after all\"}\n{\"file_name\": \"../../x.png\"}\n");
  file("metadata.jsonl",
       "{\"file_name\": \"a.png\", \"text\": \"first\"}\n{\"file_name\": \"gone.png\"}\n{\"file_name\": "
       "\"/etc/passwd\"}\n"
       "{\"file_name\": \"x/../../x.png\"}\n{\"file_name\": \"b.dat\"}\nbroken\n{\"file_name\": \"a.png\", \"text\": "
       "\"again\"}\n");
  std::map<std::string, std::string> problems;
  for (const SourceItem& item : items()) {
    problems[item.name] = item.problem;
  }
  EXPECT_EQ(problems.size(), 9U);
  EXPECT_EQ(problems["a.png"], "");
  EXPECT_THAT(problems["metadata.jsonl:2"], HasSubstr("\"gone.png\" is not there"));
  EXPECT_THAT(problems["metadata.jsonl:3"], HasSubstr("leads out"));
  EXPECT_THAT(problems["metadata.jsonl:4"], HasSubstr("leads out"));
  EXPECT_THAT(problems["metadata.jsonl:5"], HasSubstr("no picture by its name"));
  EXPECT_THAT(problems["metadata.jsonl:6"], HasSubstr("JSON"));
  EXPECT_THAT(problems["metadata.jsonl:7"], HasSubstr("was named before, in line 1 of metadata.jsonl"));
  EXPECT_THAT(problems["sub/metadata.jsonl:1"], HasSubstr("was named before, in line 1 of metadata.jsonl"));
  EXPECT_THAT(problems["sub/metadata.jsonl:2"], HasSubstr("leads out"));
}

TEST_F(ImageFolder, LinksStayInside) {
  file("a.png");
  test::write_text(folder_ / "outside.png", "x");
  fs::create_directory(folder_ / "elsewhere");
  test::write_text(folder_ / "elsewhere" / "y.png", "x");
  fs::create_symlink("a.png", root_ / "good.png");
  fs::create_symlink("../outside.png", root_ / "out.png");
  fs::create_symlink("nowhere.png", root_ / "torn.png");
  fs::create_directory_symlink("../elsewhere", root_ / "way");
  fs::create_directory(root_ / "folder.png");
  std::map<std::string, std::string> problems;
  for (const SourceItem& item : items()) {
    problems[item.name] = item.problem;
  }
  EXPECT_EQ(problems.size(), 5U);
  EXPECT_EQ(problems["a.png"], "");
  EXPECT_EQ(problems["good.png"], "");
  EXPECT_THAT(problems["out.png"], HasSubstr("leads out"));
  EXPECT_THAT(problems["torn.png"], HasSubstr("broken link"));
  EXPECT_THAT(problems["way"], HasSubstr("link to a folder"));
}

TEST_F(ImageFolder, ItsIdentityChangesWithItsFiles) {
  file("a.png");
  const Digest first = open_image_folder(source())->identity();
  EXPECT_EQ(open_image_folder(source())->identity(), first);
  file("b.png");
  const Digest second = open_image_folder(source())->identity();
  EXPECT_NE(second, first);
  file("b.png", "longer");
  EXPECT_NE(open_image_folder(source())->identity(), second);
}

TEST_F(ImageFolder, WhatIsNoneIsRefused) {
  const auto error = [&](const fs::path& path) {
    return test::data_error([&] { open_image_folder({.path = path, .caption_key = "text", .held_out_key = ""}); });
  };
  EXPECT_THAT(error(folder_ / "missing"), HasSubstr("missing"));
  file("a.png");
  EXPECT_THAT(error(root_ / "a.png"), HasSubstr("not a folder"));
  file("metadata.csv", "file_name,text\n");
  file("metadata.jsonl", "{}");
  EXPECT_THAT(error(root_), HasSubstr("lies beside"));
}

}  // namespace
}  // namespace soup
