// Folders and WebDatasets into shards: what is kept, counted and refused, and imports that are stopped or killed.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "core/signals.hpp"
#include "data/import.hpp"
#include "data/shard_file.hpp"
#include "tests/data/pictures.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using test::tar_end;
using test::tar_member;
using testing::AllOf;
using testing::HasSubstr;

class CaptionedImport : public testing::Test {
 protected:
  CaptionedImport() {
    options_.shard = "photos";
    options_.resolution = 8;
    options_.workers = 2;
    folder_source_.folder.path = root_;
    folder_source_.options.style = "photo";
    tars_.tars.folder = folder_.path();
    tars_.tars.tars = {"*.tar"};
    fs::create_directories(root_);
  }
  void picture(const std::string& name, std::uint64_t seed, const std::string& caption) {
    fs::create_directories((root_ / name).parent_path());
    write_png(root_ / name, test::noise_image(8, 8, 3, seed));
    test::write_text(fs::path(root_ / name).replace_extension(".txt"), caption);
  }
  static std::string png(std::uint64_t seed, int height = 8, int width = 8) {
    const auto bytes = encode_png(test::noise_image(height, width, 3, seed));
    return {bytes.begin(), bytes.end()};
  }
  ImportReport import() { return import_folder(folder_source_, options_, out_, log_); }
  ImportReport import_tars() { return import_webdataset(tars_, options_, out_, log_); }
  [[nodiscard]] std::vector<nlohmann::json> notes() const {
    std::vector<nlohmann::json> all;
    std::istringstream lines(test::read_bytes(out_.string() + ".notes.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      all.push_back(nlohmann::json::parse(line));
    }
    return all;
  }
  // Sixty samples in three tars, one broken in each.
  void write_tars() {
    for (int t = 0; t < 3; ++t) {
      std::string tar;
      for (int i = 0; i < 20; ++i) {
        const std::string key = std::to_string(100 * t + i);
        tar += tar_member(key + ".png",
                          i == 7 ? "torn" : png(static_cast<std::uint64_t>(100 * t + i), i % 3 == 0 ? 4 : 8));
        tar += tar_member(key + ".txt", "caption  " + key);
      }
      test::write_text(folder_ / fmt::format("0{}.tar", t), tar + tar_end());
    }
    options_.max_broken_fraction = 0.1;
    tars_.options.buckets = true;
    tars_.options.bucket_step = 2;
    tars_.options.bucket_least_side = 4;
    tars_.options.bucket_most_side = 16;
  }
  // Calls `body` in a child, kills it after `milliseconds` unless it ended; whether it had.
  static bool run_and_kill(int milliseconds, int signal_number, const std::function<void()>& body,
                           int* code = nullptr) {
    const pid_t child = fork();
    if (child == 0) {
      install_stop_signals();
      try {
        body();
      } catch (const Error& error) {
        _exit(static_cast<int>(error.exit_code()));
      }
      _exit(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    int status = 0;
    const bool ended = waitpid(child, &status, WNOHANG) == child;
    if (!ended) {
      kill(child, signal_number);
      EXPECT_EQ(waitpid(child, &status, 0), child);
    }
    if (code != nullptr) {
      *code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    return ended;
  }

  test::TemporaryFolder folder_;
  fs::path root_ = folder_ / "photos";
  fs::path out_ = folder_ / "photos.h5";
  FolderSource folder_source_;
  TarsSource tars_;
  ImportOptions options_;
  Log log_{1};  // silent
};

TEST_F(CaptionedImport, AFolderBecomesAShard) {
  picture("b.png", 2, "A  Red\nFox");
  picture("a/x.png", 1, "caf\u00e9");
  const ImportReport report = import();
  EXPECT_EQ(report.files, 2U);
  EXPECT_EQ(report.kept, 2U);
  EXPECT_EQ(report.cleaned_captions, 1U);
  EXPECT_EQ(report.notes, "");
  EXPECT_EQ(summary_of(report), "1 captions cleaned");
  const ShardFile file(out_);
  EXPECT_EQ(file.caption(0), "caf\u00e9");
  EXPECT_EQ(file.caption(1), "A Red Fox");
  EXPECT_EQ(file.key(1), "a red fox");
  EXPECT_EQ(file.style(1), "photo");
  EXPECT_EQ(file.source(0), "a/x.png");
  EXPECT_EQ(file.origin().source, "image folder photos");
  const Image second = test::noise_image(8, 8, 3, 2);
  EXPECT_TRUE(std::equal(second.pixels.begin(), second.pixels.end(), file.pixels(1).begin()));
  EXPECT_NO_THROW(file.verify());
  EXPECT_EQ(folder_.entries(), 2U);
}

TEST_F(CaptionedImport, WhatIsLeftOutIsListed) {
  for (int i = 0; i < 20; ++i) {
    picture(fmt::format("good{}.png", i), static_cast<std::uint64_t>(i), "good");
  }
  write_png(root_ / "small.png", test::noise_image(7, 30, 3, 1));
  test::write_text(root_ / "small.txt", "small");
  test::write_text(root_ / "zero.png", "");
  test::write_text(root_ / "zero.txt", "zero");
  write_png(root_ / "mute.png", test::noise_image(8, 8, 3, 50));
  write_png(root_ / "latin.png", test::noise_image(8, 8, 3, 51));
  test::write_text(root_ / "latin.txt", "caf\xe9");
  fs::copy_file(root_ / "good1.png", root_ / "liar.jpg");
  test::write_text(root_ / "liar.txt", std::string(5000, 'x'));
  folder_source_.options.missing_caption = MissingCaption::skip;
  folder_source_.options.min_side = 8;
  options_.max_broken_fraction = 0.2;
  const ImportReport report = import();
  EXPECT_EQ(report.files, 25U);
  EXPECT_EQ(report.kept, 21U);
  EXPECT_EQ(report.unreadable, 2U);
  EXPECT_EQ(report.too_small, 1U);
  EXPECT_EQ(report.without_caption, 1U);
  EXPECT_EQ(report.cut_captions, 1U);
  EXPECT_EQ(report.wrong_extension, 1U);
  EXPECT_EQ(report.notes, out_.string() + ".notes.jsonl");
  std::vector<std::string> lines;
  for (const nlohmann::json& note : notes()) {
    lines.push_back(note.at("item").get<std::string>() + " " + note.at("kind").get<std::string>() + " " +
                    note.at("why").get<std::string>());
  }
  EXPECT_THAT(lines,
              testing::ElementsAre("latin.png broken its caption is not UTF-8",
                                   "liar.jpg extension is PNG by its content; kept", "mute.png caption has no caption",
                                   "small.png small is 7 x 30", "zero.png broken is empty (0 bytes)"));
}

TEST_F(CaptionedImport, MissingCaptionsByChoice) {
  picture("a.png", 1, "");
  write_png(root_ / "b.png", test::noise_image(8, 8, 3, 2));
  EXPECT_THAT(test::data_error([&] { import(); }), AllOf(HasSubstr("a.png: has no caption"), HasSubstr("hint")));
  EXPECT_EQ(folder_.entries(), 1U);
  folder_source_.options.missing_caption = MissingCaption::empty;
  EXPECT_EQ(import().without_caption, 2U);
  const ShardFile file(out_);
  EXPECT_EQ(file.caption(1), "");
  EXPECT_EQ(file.key(0), "a.png");  // not one key for all of them
  EXPECT_EQ(file.key(1), "b.png");
}

TEST_F(CaptionedImport, BrokenItemsByChoice) {
  picture("a.png", 1, "good");
  picture("b.png", 2, "torn");
  test::write_text(root_ / "b.png", test::read_bytes(root_ / "b.png").substr(0, 60));
  folder_source_.options.on_broken = OnBroken::refuse;
  EXPECT_THAT(test::data_error([&] { import(); }), HasSubstr("b.png: cannot decode"));
  folder_source_.options.on_broken = OnBroken::skip;
  options_.max_broken_fraction = 0.4;
  EXPECT_THAT(test::data_error([&] { import(); }), AllOf(HasSubstr("1 of 2"), HasSubstr("b.png")));
  EXPECT_EQ(folder_.entries(), 1U);  // the source alone
  options_.max_broken_fraction = 0.5;
  EXPECT_EQ(import().kept, 1U);
}

TEST_F(CaptionedImport, NothingToKeepIsAnError) {
  EXPECT_THAT(test::data_error([&] { import(); }), HasSubstr("no images"));
  EXPECT_EQ(folder_.entries(), 1U);
}

TEST_F(CaptionedImport, NothingToKeepSaysWhatWasWrong) {
  test::write_text(root_ / "a.png", "not a picture");
  test::write_text(root_ / "a.txt", "words");
  options_.max_broken_fraction = 1.0;
  EXPECT_THAT(test::data_error([&] { import(); }),
              AllOf(HasSubstr("1 are unreadable"), HasSubstr("a.png"), HasSubstr("not a PNG")));
  EXPECT_EQ(folder_.entries(), 1U);
}

TEST_F(CaptionedImport, UnreadableMetadataLeavesNothing) {
  test::write_text(root_ / "metadata.csv", "file_name,text\n0.png,\"open\n");
  EXPECT_THAT(test::data_error([&] { import(); }), HasSubstr("a quote is left open"));
  EXPECT_EQ(folder_.entries(), 1U);
}

TEST_F(CaptionedImport, TarsOfManySizesGoToBuckets) {
  write_tars();
  const ImportReport report = import_tars();
  EXPECT_EQ(report.files, 60U);
  EXPECT_EQ(report.kept, 57U);
  EXPECT_EQ(report.unreadable, 3U);
  EXPECT_THAT(report.broken.front(), HasSubstr("00.tar/7.png: is not a PNG"));
  EXPECT_EQ(report.cleaned_captions, 57U);
  const ShardFile file(out_);
  const std::vector<Bucket> expected{{6, 10, 0, 21}, {8, 8, 21, 36}};
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), file.buckets().begin(), file.buckets().end()));
  EXPECT_EQ(file.source(0), "00.tar/0.png");
  EXPECT_EQ(file.source(21), "00.tar/1.png");
  EXPECT_EQ(file.key(56), "caption 219");
}

TEST_F(CaptionedImport, TheLimitTakesTheFirst) {
  write_tars();
  tars_.options.limit = 10;
  const ImportReport report = import_tars();
  EXPECT_EQ(report.kept, 10U);
  EXPECT_EQ(report.files, 11U);
}

TEST_F(CaptionedImport, TheShardDependsNeitherOnWorkersNorOnInterruptions) {
  write_tars();
  options_.workers = 1;
  import_tars();
  const std::string expected = test::read_bytes(out_);
  const std::string expected_notes = test::read_bytes(out_.string() + ".notes.jsonl");
  fs::remove(out_);
  fs::remove(out_.string() + ".notes.jsonl");
  options_.save_seconds = 0.0;  // after every item
  int kills = 0;
  for (int round = 0; round < 40; ++round) {
    options_.workers = 1 + round % 3;
    kills += run_and_kill(30 + 7 * (round % 9), SIGKILL, [&] { import_tars(); }) ? 0 : 1;
    if (fs::exists(out_)) {
      break;
    }
  }
  EXPECT_GT(kills, 0);
  // A kill may also come between the shard's last rename and the removal of what led to it.
  if (!fs::exists(out_) || fs::exists(out_.string() + ".partial")) {
    import_tars();
  }
  EXPECT_EQ(test::read_bytes(out_), expected);
  EXPECT_EQ(test::read_bytes(out_.string() + ".notes.jsonl"), expected_notes);
  EXPECT_FALSE(fs::exists(out_.string() + ".partial"));
}

TEST_F(CaptionedImport, AStopSignalKeepsWhatIsDone) {
  for (int i = 0; i < 300; ++i) {
    picture(fmt::format("p{}.png", 1000 + i), static_cast<std::uint64_t>(i), fmt::format("c{}", i));
  }
  import();
  const std::string expected = test::read_bytes(out_);
  fs::remove(out_);
  options_.workers = 1;
  bool stopped = false;
  for (int wait = 30; !stopped && wait < 2000; wait += 30) {
    int code = 0;
    run_and_kill(
        wait, SIGTERM, [&] { import(); }, &code);
    const fs::path state = out_.string() + ".partial/state.json";
    stopped =
        code == 75 && fs::exists(state) && nlohmann::json::parse(test::read_bytes(state)).at("progress").at("kept") > 0;
    if (!stopped) {
      fs::remove(out_);
      fs::remove_all(out_.string() + ".partial");
    }
  }
  ASSERT_TRUE(stopped);
  EXPECT_FALSE(fs::exists(out_));
  import();
  EXPECT_EQ(test::read_bytes(out_), expected);
}

TEST_F(CaptionedImport, OtherOptionsStartAnew) {
  write_tars();
  options_.save_seconds = 0.0;
  for (int wait = 60; !fs::exists(out_.string() + ".partial/state.json"); wait += 20) {
    run_and_kill(wait, SIGKILL, [&] { import_tars(); });
    ASSERT_LT(wait, 4000);
    if (fs::exists(out_)) {
      fs::remove(out_);
    }
  }
  tars_.options.style = "another";
  import_tars();
  const ShardFile file(out_);
  EXPECT_EQ(file.size(), 57U);
  for (std::size_t i = 0; i < file.size(); ++i) {
    ASSERT_EQ(file.style(i), "another");
  }
}

TEST_F(CaptionedImport, OptionsWithoutBucketsAreRefused) {
  write_tars();
  tars_.options.bucket_least_side = 5;
  EXPECT_THROW(import_tars(), ConfigError);
  EXPECT_FALSE(fs::exists(out_.string() + ".partial"));
}

}  // namespace
}  // namespace soup
