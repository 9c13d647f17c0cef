// Pictures of every kind: formats by content, colour, alpha, orientation, fit, and those that are refused.
#include "data/picture.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>

#include "data/decode_pool.hpp"
#include "tests/data/pictures.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

constexpr unsigned red = 0xff0000;
constexpr unsigned green = 0x00ff00;

class Pictures : public testing::Test {
 protected:
  // Decoded by a worker from the file's bytes and from its path; both must agree.
  Decoded decode(const std::filesystem::path& file, const PictureOptions& options) {
    std::vector<DecodeJob> jobs(2);
    const std::string content = test::read_bytes(file);
    const auto bytes = std::as_bytes(std::span(content));
    jobs[0].name = "in.tar";
    jobs[0].bytes.assign(bytes.begin(), bytes.end());
    jobs[1].name = "a file";
    jobs[1].path = file;
    std::vector<Decoded> results;
    std::size_t given = 0;
    decode_stream(
        [&]() -> std::optional<DecodeJob> { return given < jobs.size() ? std::optional(jobs[given++]) : std::nullopt; },
        {.picture = options, .workers = 1},
        [&](std::size_t, Decoded result) {
          results.push_back(std::move(result));
          return true;
        });
    EXPECT_EQ(results.size(), 2U);
    EXPECT_EQ(results[0].error, results[1].error);
    EXPECT_EQ(results[0].image.has_value(), results[1].image.has_value());
    if (results[0].image && results[1].image) {
      EXPECT_EQ(results[0].image->pixels, results[1].image->pixels);
    }
    return results[0];
  }
  Decoded decode(const std::filesystem::path& file, int side = 16) { return decode(file, {.sizes = {{side, side}}}); }
  std::filesystem::path make(test::PictureKind kind, const std::string& name, const std::string& how,
                             const std::function<unsigned(int, int)>& colour) {
    kind.target = (folder_ / name).string() + how;
    test::write_picture(kind, colour);
    return folder_ / name;
  }
  static void expect_colour(const Decoded& decoded, int y, int x, std::array<int, 3> rgb, int tolerance) {
    ASSERT_TRUE(decoded.image) << decoded.error;
    for (std::size_t c = 0; c < 3; ++c) {
      EXPECT_NEAR(decoded.image->pixels[(static_cast<std::size_t>(y) * decoded.image->width + x) * 3 + c], rgb[c],
                  tolerance)
          << "row " << y << ", column " << x << ", channel " << c;
    }
  }
  test::TemporaryFolder folder_;
};

// The picture is cut before it is computed; libvips's own cut comes after.
TEST_F(Pictures, TheMiddleHasTheBitsOfLibvipsOwn) {
  RandomStream random = SeedTree(3).stream("picture sizes", "", 0);
  const auto between = [&random](int least, int most) {
    return least + static_cast<int>(random.below(static_cast<std::uint64_t>(most - least + 1)));
  };
  for (int i = 0; i < 60; ++i) {
    const ImageSize target{between(8, 90), between(8, 90)};
    const test::PictureKind kind{.target = {},
                                 .height = between(5, 300),
                                 .width = between(5, 300),
                                 .orientation = i % 3 == 0 ? between(2, 8) : 0};
    const auto file = make(kind, "x.jpg", i % 2 == 0 ? "[Q=90]" : "[Q=90,subsample_mode=off]", [&](int y, int x) {
      return static_cast<unsigned>((x * 37 + y * 11 + (x / 3) * (y / 5) * 101) & 0xffffff) * 0x10201U;
    });
    const std::string content = test::read_bytes(file);
    const std::filesystem::path expected = folder_ / "expected";
    test::in_child([&] {
      VipsImage* image = nullptr;
      test::made(vips_thumbnail_buffer(const_cast<char*>(content.data()), content.size(), &image, target.width,
                                       "height", target.height, "crop", VIPS_INTERESTING_CENTRE, nullptr));
      std::size_t bytes = 0;
      const auto* pixels = static_cast<const char*>(vips_image_write_to_memory(image, &bytes));
      test::write_text(expected, {pixels, bytes});
    });
    const Decoded decoded = decode(file, {.sizes = {target}});
    ASSERT_TRUE(decoded.image) << decoded.error;
    const auto got = std::as_bytes(std::span(decoded.image->pixels));
    EXPECT_TRUE(std::string_view(reinterpret_cast<const char*>(got.data()), got.size()) == test::read_bytes(expected))
        << kind.height << " x " << kind.width << " to " << target.height << " x " << target.width << ", orientation "
        << kind.orientation;
  }
}

TEST_F(Pictures, AreKnownByTheirContent) {
  const std::vector<std::pair<std::string, std::string_view>> kinds{{"png", "PNG"}, {"jpg", "JPEG"}, {"webp", "WebP"}};
  for (const auto& [end, format] : kinds) {
    const auto file = make({}, "x." + end, "", [](int, int) { return red; });
    std::filesystem::rename(file, folder_ / "x.gif");
    const Decoded decoded = decode(folder_ / "x.gif");
    EXPECT_EQ(decoded.format, format);
    expect_colour(decoded, 8, 8, {255, 0, 0}, 3);
  }
  test::write_text(
      folder_ / "x.jpg",
      "<svg xmlns='http://www.w3.org/2000/svg' width='4' height='4'><rect width='4' height='4' fill='lime'/></svg>");
  EXPECT_EQ(decode(folder_ / "x.jpg").format, "SVG");
  expect_colour(decode(folder_ / "x.jpg"), 0, 15, {0, 255, 0}, 0);
}

TEST_F(Pictures, ExactSizesKeepTheirPixels) {
  const Image noise = test::noise_image(16, 16, 3, 5);
  write_png(folder_ / "n.png", noise);
  const Decoded decoded = decode(folder_ / "n.png");
  ASSERT_TRUE(decoded.image);
  EXPECT_EQ(decoded.image->pixels, noise.pixels);
  EXPECT_EQ(decoded.digests.pixels, sha256(std::as_bytes(std::span(noise.pixels))));
  EXPECT_EQ(decoded.original, (ImageSize{16, 16}));
}

TEST_F(Pictures, GreyCmykSixteenBitsAndPalettes) {
  const auto colour = [](int, int) { return 0x804020U; };
  expect_colour(decode(make({.target = {}, .interpretation = VIPS_INTERPRETATION_B_W}, "grey.png", "",
                            [](int, int) { return 0x777777U; })),
                4, 4, {0x77, 0x77, 0x77}, 1);
  expect_colour(decode(make({.target = {}, .interpretation = VIPS_INTERPRETATION_RGB16}, "deep.png", "", colour)), 4, 4,
                {0x80, 0x40, 0x20}, 1);
  expect_colour(decode(make({.target = {}, .interpretation = VIPS_INTERPRETATION_GREY16}, "deep-grey.png", "",
                            [](int, int) { return 0x777777U; })),
                4, 4, {0x77, 0x77, 0x77}, 1);
  expect_colour(decode(make({}, "palette.png", "[palette]", colour)), 4, 4, {0x80, 0x40, 0x20}, 2);
  // Out of CMYK by its profile: a colour that CMYK can show comes back.
  expect_colour(decode(make({.target = {}, .profile = "cmyk"}, "cmyk.jpg", "[Q=100]", colour)), 4, 4,
                {0x80, 0x40, 0x20}, 12);
}

TEST_F(Pictures, AnEmbeddedProfileIsHonoured) {
  // Written as Display P3: the numbers in the file are others, the colour is the same.
  const auto file = make({.target = {}, .profile = "p3"}, "p3.png", "", [](int, int) { return 0x30c060U; });
  expect_colour(decode(file), 4, 4, {0x30, 0xc0, 0x60}, 3);
}

TEST_F(Pictures, AlphaGoesOverWhite) {
  expect_colour(decode(make({.target = {}, .alpha = true}, "half.png", "", [](int, int) { return 0x000000U; })), 4, 4,
                {127, 127, 127}, 1);
  expect_colour(decode(make({.target = {}, .alpha = true}, "half.webp", "[lossless]", [](int, int) { return red; })), 4,
                4, {255, 127, 127}, 1);
}

TEST_F(Pictures, StandUprightByExif) {
  // Orientation 6: the first column of the stored picture is the top of the upright one (EXIF 2.32, tag 0x0112).
  const auto file = make({.target = {}, .height = 16, .width = 32, .orientation = 6}, "lying.jpg", "[Q=100]",
                         [](int, int x) { return x < 16 ? red : green; });
  const Decoded decoded = decode(file, {.sizes = {{32, 16}}});
  EXPECT_EQ(decoded.original, (ImageSize{32, 16}));
  expect_colour(decoded, 4, 8, {255, 0, 0}, 6);
  expect_colour(decoded, 28, 8, {0, 255, 0}, 6);
}

TEST_F(Pictures, AreCutInTheMiddleOrPaddedWithWhite) {
  // A third red, green, red: the cut takes the green.
  const auto file = make({.target = {}, .height = 30, .width = 90}, "wide.png", "",
                         [](int, int x) { return x >= 30 && x < 60 ? green : red; });
  const Decoded cropped = decode(file, {.sizes = {{30, 30}}});
  for (const int x : {0, 15, 29}) {
    expect_colour(cropped, 15, x, {0, 255, 0}, 0);
  }
  const Decoded padded = decode(file, {.sizes = {{90, 90}}, .fit = Fit::pad});
  expect_colour(padded, 0, 45, {255, 255, 255}, 0);
  expect_colour(padded, 45, 5, {255, 0, 0}, 0);
  expect_colour(padded, 45, 45, {0, 255, 0}, 0);
}

TEST_F(Pictures, SmallOnesAreEnlargedOrLeftOut) {
  const auto file = make({.target = {}, .height = 8, .width = 20}, "small.png", "", [](int, int) { return red; });
  expect_colour(decode(file, 64), 63, 63, {255, 0, 0}, 0);
  const Decoded left = decode(file, {.sizes = {{64, 64}}, .min_side = 9});
  EXPECT_FALSE(left.image);
  EXPECT_EQ(left.error, "");
  EXPECT_EQ(left.original, (ImageSize{8, 20}));
  EXPECT_TRUE(decode(file, {.sizes = {{64, 64}}, .min_side = 8}).image);
}

TEST_F(Pictures, GoToTheNearestBucket) {
  const std::vector<ImageSize> sizes{{32, 64}, {48, 48}, {64, 32}};
  const auto shape = [&](int height, int width) {
    const Decoded decoded =
        decode(make({.target = {}, .height = height, .width = width}, "b.png", "", [](int, int) { return red; }),
               {.sizes = sizes});
    return ImageSize{decoded.image->height, decoded.image->width};
  };
  EXPECT_EQ(shape(10, 30), (ImageSize{32, 64}));
  EXPECT_EQ(shape(100, 110), (ImageSize{48, 48}));
  EXPECT_EQ(shape(300, 100), (ImageSize{64, 32}));
}

TEST_F(Pictures, OnlyTheFirstFrameOfAnAnimationIsTaken) {
  // Two frames, red above green, as libvips stacks them.
  test::in_child([&] {
    std::vector<std::uint8_t> pixels;
    for (int i = 0; i < 32 * 16; ++i) {
      for (const int value : {i < 16 * 16 ? 255 : 0, i < 16 * 16 ? 0 : 255, 0}) {
        pixels.push_back(static_cast<std::uint8_t>(value));
      }
    }
    VipsImage* image = vips_image_new_from_memory(pixels.data(), pixels.size(), 16, 32, 3, VIPS_FORMAT_UCHAR);
    VipsImage* copy = nullptr;
    test::made(vips_copy(image, &copy, "interpretation", VIPS_INTERPRETATION_sRGB, nullptr));
    vips_image_set_int(copy, VIPS_META_PAGE_HEIGHT, 16);
    test::made(vips_image_write_to_file(copy, ((folder_ / "two.webp").string() + "[lossless]").c_str(), nullptr));
  });
  const Decoded decoded = decode(folder_ / "two.webp");
  EXPECT_EQ(decoded.original, (ImageSize{16, 16}));
  expect_colour(decoded, 2, 2, {255, 0, 0}, 1);
  expect_colour(decoded, 14, 14, {255, 0, 0}, 1);
}

TEST_F(Pictures, BombsAreRefusedByTheirHeader) {
  // The header of a PNG of 20,000 x 20,000 in front of nothing.
  auto png = encode_png(test::flat_image(4, 4, 0));
  const auto size = std::array<std::uint8_t, 4>{0, 0, 0x4e, 0x20};
  std::ranges::copy(size, png.begin() + 16);
  std::ranges::copy(size, png.begin() + 20);
  const auto crc = static_cast<std::uint32_t>(crc32(0, &png[12], 17));
  for (int i = 0; i < 4; ++i) {
    png[29 + i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
  }
  test::write_text(folder_ / "bomb.png", std::string(png.begin(), png.end()));
  EXPECT_THAT(decode(folder_ / "bomb.png").error,
              testing::AllOf(HasSubstr("20000 x 20000, 400000000 pixels"), HasSubstr("178956970")));
  const auto fair = make({}, "fair.png", "", [](int, int) { return red; });
  EXPECT_THAT(decode(fair, {.sizes = {{16, 16}}, .max_pixels = 255}).error, HasSubstr("256 pixels"));
  EXPECT_TRUE(decode(fair, {.sizes = {{16, 16}}, .max_pixels = 256}).image);
}

TEST_F(Pictures, WhatIsNoneOfTheFourIsNamed) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "is empty (0 bytes)"},
      {std::string("GIF89a\1\0\1\0\0\0\0;", 14), "GIF"},
      {"<!DOCTYPE html><html><body>404</body></html>", "web page"},
      {"just text", "none of them"},
      {std::string("\0\0\0\x1c"
                   "ftypavif\0\0\0\0",
                   16),
       "AVIF"},
  };
  for (const auto& [content, expected] : cases) {
    test::write_text(folder_ / "x.jpg", content);
    const Decoded decoded = decode(folder_ / "x.jpg");
    EXPECT_FALSE(decoded.image);
    EXPECT_THAT(decoded.error, HasSubstr(expected));
  }
}

TEST_F(Pictures, EveryTornFileIsRefused) {
  for (const std::string end : {"png", "jpg", "webp"}) {
    const auto file = make({.target = {}, .height = 64, .width = 64}, "whole." + end, "",
                           [](int y, int x) { return static_cast<unsigned>(y * 977 + x * 7919) & 0xffffffU; });
    const std::string whole = test::read_bytes(file);
    for (const double part : {0.02, 0.3, 0.7, 0.95}) {
      test::write_text(folder_ / "torn",
                       whole.substr(0, static_cast<std::size_t>(part * static_cast<double>(whole.size()))));
      const Decoded decoded = decode(folder_ / "torn");
      EXPECT_FALSE(decoded.image) << end << " " << part;
      EXPECT_FALSE(decoded.error.empty());
    }
  }
}

TEST(PictureNames, PromiseAFormat) {
  EXPECT_EQ(format_of_name("a/b.JPeG"), "JPEG");
  EXPECT_EQ(format_of_name("b.svgz"), "SVG");
  EXPECT_EQ(format_of_name("b.webp"), "WebP");
  EXPECT_EQ(format_of_name("b.png.txt"), "");
  EXPECT_EQ(format_of_name("png"), "");
}

}  // namespace
}  // namespace soup
