// Decoding in processes of their own: order, crashes, images that never end.
#include "data/decode_pool.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <map>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

class DecodePool : public testing::Test {
 protected:
  std::filesystem::path good(std::uint64_t seed) {
    const auto path = folder_.path() / ("good" + std::to_string(seed) + ".png");
    write_png(path, test::noise_image(16, 16, 3, seed));
    return path;
  }
  std::filesystem::path text(const std::string& name, std::string_view content) {
    test::write_text(folder_.path() / name, content);
    return folder_.path() / name;
  }
  // Noise of two thousand million octaves: librsvg would take hours.
  std::filesystem::path endless(const std::string& name) {
    return text(name,
                "<svg xmlns='http://www.w3.org/2000/svg' width='16' height='16'><filter id='f'>"
                "<feTurbulence numOctaves='2000000000' baseFrequency='0.05'/></filter>"
                "<rect width='16' height='16' filter='url(#f)'/></svg>");
  }
  static std::vector<Decoded> decode(const std::vector<std::filesystem::path>& paths, const DecodeOptions& options) {
    std::vector<Decoded> results;
    decode_in_order(paths, options, [&](std::size_t i, Decoded result) {
      EXPECT_EQ(i, results.size());
      EXPECT_NE(result.image.has_value(), !result.error.empty());
      results.push_back(std::move(result));
      return true;
    });
    return results;
  }
  static void expect_no_children() {
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }
  test::TemporaryFolder folder_;
};

TEST_F(DecodePool, ResultsComeInOrderForAnyNumberOfWorkers) {
  std::vector<std::filesystem::path> paths;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    paths.push_back(seed % 50 == 7 ? text("bad" + std::to_string(seed) + ".png", "no image") : good(seed));
  }
  for (const int workers : {1, 2, 5}) {
    const auto results = decode(paths, {.size = 16, .workers = workers});
    ASSERT_EQ(results.size(), paths.size());
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
      if (seed % 50 == 7) {
        EXPECT_THAT(results[seed].error, testing::StartsWith("cannot decode"));
      } else {
        ASSERT_TRUE(results[seed].image);
        ASSERT_EQ(results[seed].image->pixels, test::noise_image(16, 16, 3, seed).pixels);
      }
    }
  }
  expect_no_children();
}

TEST_F(DecodePool, AnImageThatNeverEndsIsReportedWithinItsTime) {
  const auto fifo = folder_.path() / "pipe.svg";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::vector<std::filesystem::path> paths{good(1), endless("a.svg"), good(2), fifo, good(3)};
  const auto start = std::chrono::steady_clock::now();
  const auto results = decode(paths, {.size = 16, .workers = 2, .seconds_per_image = 0.5});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(results[1].error, "not decoded within 0.5 s");
  EXPECT_EQ(results[3].error, "not decoded within 0.5 s");
  for (const std::size_t i : {0U, 2U, 4U}) {
    EXPECT_TRUE(results[i].image) << results[i].error;
  }
  EXPECT_GE(seconds, 2.5);   // the pipe, which uses no processor time, has five times as long
  EXPECT_LT(seconds, 30.0);  // slack for a loaded machine
  expect_no_children();
}

TEST_F(DecodePool, ABombEndsInTimeOrMemory) {
  std::string body = "<defs><g id='a0'><rect width='1' height='1'/></g>";
  for (int i = 1; i < 40; ++i) {
    body += "<g id='a" + std::to_string(i) + "'>";
    for (int j = 0; j < 10; ++j) {
      body += "<use href='#a" + std::to_string(i - 1) + "'/>";
    }
    body += "</g>";
  }
  const auto bomb = text("bomb.svg", "<svg xmlns='http://www.w3.org/2000/svg' width='16' height='16'>" + body +
                                         "</defs><use href='#a39'/></svg>");
  const auto results = decode({bomb, good(1)}, {.size = 16, .workers = 1, .seconds_per_image = 1.0});
  EXPECT_FALSE(results[0].image);
  EXPECT_TRUE(results[1].image) << results[1].error;
}

TEST_F(DecodePool, ADecoderOutOfMemoryIsReported) {
  // An interlaced PNG of 20,000 x 20,000 has to be held whole: 1.2 GB against the 256 MiB given.
  const auto size = std::array<std::uint8_t, 4>{0, 0, 0x4e, 0x20};
  auto png = encode_png(test::flat_image(4, 4, 0));
  std::copy(size.begin(), size.end(), png.begin() + 16);
  std::copy(size.begin(), size.end(), png.begin() + 20);
  png[28] = 1;  // Adam7
  const std::uint32_t crc = static_cast<std::uint32_t>(crc32(0, &png[12], 17));
  for (int i = 0; i < 4; ++i) {
    png[29 + i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
  }
  const auto huge = text("huge.png", std::string(png.begin(), png.end()));
  const auto results =
      decode({huge, good(1)}, {.size = 16, .workers = 1, .seconds_per_image = 20.0, .memory_bytes = 256U << 20});
  EXPECT_FALSE(results[0].image);
  EXPECT_TRUE(results[1].image) << results[1].error;
}

TEST_F(DecodePool, StopsWhenAsked) {
  std::vector<std::filesystem::path> paths;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    paths.push_back(good(seed));
  }
  std::size_t seen = 0;
  decode_in_order(paths, {.size = 16}, [&](std::size_t, Decoded) { return ++seen < 10; });
  EXPECT_EQ(seen, 10U);
  EXPECT_THROW(
      decode_in_order(paths, {.size = 16}, [](std::size_t, Decoded) -> bool { throw InvariantError("consumer"); }),
      InvariantError);
  expect_no_children();
}

TEST_F(DecodePool, NothingToDecodeIsNoError) {
  EXPECT_TRUE(decode({}, {}).empty());
  EXPECT_THROW(decode({good(1)}, {.workers = 0}), InvariantError);
}

// libvips's threads do not survive a fork, so this is refused; in a process of its own, since it starts libvips.
TEST(DecodePoolDeathTest, RefusesAfterLoadIcon) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "x.png";
  write_png(path, test::noise_image(8, 8, 3, 1));
  EXPECT_EXIT(
      {
        load_icon(path, 8);
        try {
          decode_in_order(std::vector{path}, {.size = 8}, [](std::size_t, Decoded) { return true; });
        } catch (const InvariantError&) {
          _exit(42);
        }
        _exit(0);
      },
      testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace soup
