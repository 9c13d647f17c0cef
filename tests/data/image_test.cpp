// PNG writing, grids, and decoding of PNG and SVG files.
#include "data/image.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

using Rgb = std::array<int, 3>;

Rgb at(const Image& image, int y, int x) {
  const std::uint8_t* pixel = &image.pixels[(static_cast<std::size_t>(y) * image.width + x) * image.channels];
  return {pixel[0], pixel[1], pixel[2]};
}

constexpr Rgb white{255, 255, 255};

class Icons : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& name, std::string_view content) {
    const auto path = folder_.path() / name;
    test::write_text(path, content);
    return path;
  }
  std::filesystem::path svg(const std::string& body, const std::string& size = "width='32' height='32'") {
    return file("drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg' " + size + ">" + body + "</svg>");
  }
  test::TemporaryFolder folder_;
};

TEST_F(Icons, APngWrittenAndDecodedIsTheSame) {
  for (const int channels : {1, 3}) {
    const Image image = test::noise_image(24, 24, channels, 5);
    write_png(folder_.path() / "x.png", image);
    const Image back = load_icon(folder_.path() / "x.png", 24);
    ASSERT_EQ(back.channels, 3);
    for (std::size_t i = 0; i < image.pixels.size(); ++i) {
      for (int c = 0; channels == 1 && c < 3; ++c) {
        ASSERT_EQ(back.pixels[i * 3 + c], image.pixels[i]);
      }
    }
    if (channels == 3) {
      EXPECT_EQ(back.pixels, image.pixels);
    }
  }
}

TEST_F(Icons, PngBytesAreAsTheSpecificationHasThem) {
  const auto png = encode_png(Image{2, 3, 3, std::vector<std::uint8_t>(18, 9)});
  const auto u32 = [&](std::size_t offset) {
    return png[offset] << 24 | png[offset + 1] << 16 | png[offset + 2] << 8 | png[offset + 3];
  };
  EXPECT_EQ(std::string(png.begin() + 1, png.begin() + 4), "PNG");
  EXPECT_EQ(u32(8), 13);  // bytes of IHDR
  EXPECT_EQ(u32(16), 3);  // width
  EXPECT_EQ(u32(20), 2);  // height
  EXPECT_EQ(png[24], 8);  // bits
  EXPECT_EQ(png[25], 2);  // RGB
  EXPECT_EQ(static_cast<std::uint32_t>(u32(29)), crc32(0, &png[12], 17));
  EXPECT_EQ(std::string(png.end() - 8, png.end() - 4), "IEND");
}

TEST_F(Icons, AlphaIsCompositedOverWhite) {
  // Left half black at alpha 51 = 255 / 5, right half fully transparent red.
  Image image{8, 8, 4, {}};
  for (int pixel = 0; pixel < 64; ++pixel) {
    const bool left = pixel % 8 < 4;
    image.pixels.insert(image.pixels.end(),
                        {static_cast<std::uint8_t>(left ? 0 : 200), 0, 0, static_cast<std::uint8_t>(left ? 51 : 0)});
  }
  write_png(folder_.path() / "x.png", image);
  const Image back = load_icon(folder_.path() / "x.png", 8);
  EXPECT_EQ(at(back, 3, 1), (Rgb{204, 204, 204}));
  EXPECT_EQ(at(back, 3, 6), white);
}

TEST_F(Icons, KeepTheirAspectRatioInAWhiteSquare) {
  write_png(folder_.path() / "wide.png", Image{16, 64, 3, std::vector<std::uint8_t>(16 * 64 * 3, 0)});
  const Image image = load_icon(folder_.path() / "wide.png", 32);
  EXPECT_EQ(at(image, 11, 16), white);
  EXPECT_EQ(at(image, 12, 16), (Rgb{0, 0, 0}));
  EXPECT_EQ(at(image, 19, 31), (Rgb{0, 0, 0}));
  EXPECT_EQ(at(image, 20, 0), white);
}

TEST_F(Icons, SvgsAreDrawnAtTheSizeAsked) {
  // A black square over the right half, of a drawing 8 wide: its edge stays sharp at 64.
  const auto path = svg("<rect x='4' width='4' height='8' fill='#000'/>", "width='8' height='8'");
  const Image image = load_icon(path, 64);
  ASSERT_EQ(image.width, 64);
  EXPECT_EQ(at(image, 30, 31), white);
  EXPECT_EQ(at(image, 30, 32), (Rgb{0, 0, 0}));
}

TEST_F(Icons, AnSvgWithoutSizeOrOfAnotherShapeFits) {
  const Image image = load_icon(svg("<rect width='20' height='10' fill='#00f'/>", "viewBox='0 0 20 10'"), 32);
  EXPECT_EQ(at(image, 16, 16), (Rgb{0, 0, 255}));
  EXPECT_EQ(at(image, 2, 16), white);
  EXPECT_EQ(at(image, 29, 16), white);
}

TEST_F(Icons, ADrawingForDarkPanelsIsInverted) {
  const Image light = load_icon(svg("<rect x='8' y='8' width='16' height='16' fill='#dfdfdf'/>"), 32);
  EXPECT_EQ(at(light, 16, 16), (Rgb{32, 32, 32}));
  EXPECT_EQ(at(light, 2, 2), white);
  // Not: two greys (a shaded drawing), a colour, a dark drawing.
  const Image shaded = load_icon(
      svg("<rect width='32' height='32' fill='#dfdfdf'/><rect x='8' y='8' width='9' height='9' fill='#bbb'/>"), 32);
  EXPECT_EQ(at(shaded, 30, 30), (Rgb{223, 223, 223}));
  EXPECT_EQ(at(load_icon(svg("<rect width='32' height='32' fill='#ffee99'/>"), 32), 9, 9), (Rgb{255, 238, 153}));
  EXPECT_EQ(at(load_icon(svg("<rect width='32' height='32' fill='#333'/>"), 32), 9, 9), (Rgb{51, 51, 51}));
  EXPECT_EQ(at(load_icon(svg(""), 32), 9, 9), white);  // nothing drawn
}

TEST_F(Icons, BrokenFilesAreDataErrors) {
  Image whole = test::noise_image(32, 32, 3, 1);
  auto png = encode_png(whole);
  EXPECT_THROW(load_icon(folder_.path() / "missing.png", 8), DataError);
  EXPECT_THROW(load_icon(file("empty.png", ""), 8), DataError);
  EXPECT_THROW(load_icon(file("text.png", "not a PNG file at all"), 8), DataError);
  EXPECT_THROW(load_icon(file("half.png", std::string(png.begin(), png.begin() + png.size() / 2)), 8), DataError);
  EXPECT_THROW(load_icon(file("half.svg", "<svg xmlns='http://www.w3.org/2000/svg' width='8'"), 8), DataError);
  EXPECT_THROW(load_icon(file("other.jpg", "x"), 8), DataError);
  // A good file after bad ones: no error state is left behind.
  EXPECT_NO_THROW(load_icon(file("good.png", std::string(png.begin(), png.end())), 8));
}

TEST(ImageGrid, PlacesCellsRowByRow) {
  std::vector<Image> cells;
  for (const int value : {10, 20, 30}) {
    cells.push_back(test::flat_image(2, 2, static_cast<std::uint8_t>(value)));
  }
  const Image sheet = image_grid(cells, 2, 1, 3);
  EXPECT_EQ(sheet.width, 2 * 6 + 1);
  EXPECT_EQ(sheet.height, 2 * 6 + 1);
  EXPECT_EQ(at(sheet, 0, 5), (Rgb{10, 10, 10}));
  EXPECT_EQ(at(sheet, 0, 6), white);  // gap
  EXPECT_EQ(at(sheet, 5, 7), (Rgb{20, 20, 20}));
  EXPECT_EQ(at(sheet, 7, 0), (Rgb{30, 30, 30}));
  EXPECT_EQ(at(sheet, 12, 12), white);  // no fourth cell
  EXPECT_EQ(image_grid(cells, 9, 0, 1).width, 6);
}

TEST(ImageGrid, NeedsCellsOfOneSize) {
  const std::vector<Image> cells{test::flat_image(2, 2, 0), test::flat_image(2, 3, 0)};
  EXPECT_THROW(image_grid(cells, 2, 1, 1), InvariantError);
  EXPECT_THROW(image_grid({}, 2, 1, 1), InvariantError);
  EXPECT_THROW(encode_png(Image{2, 2, 3, {1, 2, 3}}), InvariantError);
}

}  // namespace
}  // namespace soup
