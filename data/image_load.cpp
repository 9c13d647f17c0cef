// Decoding half of data/image.hpp.
#include <algorithm>
#include <array>
#include <memory>

#include "core/error.hpp"
#include "data/image.hpp"
#include "data/vips.hpp"

namespace soup {
namespace {

// `status` is libvips's: 0 is success. `image` is taken by reference because the call that sets it is evaluated in the
// same argument list. Throws DataError with libvips's error text in one line.
VipsHandle checked(int status, VipsImage* const& image, const std::filesystem::path& path) {
  if (status != 0) {
    throw DataError(path, "cannot decode: " + take_vips_error());
  }
  return VipsHandle(image);
}

VipsHandle load_svg(const std::filesystem::path& path, int size) {
  VipsImage* out = nullptr;
  // The header gives the drawing's own size; only the pixels of the second load are ever rendered.
  const VipsHandle header = checked(vips_svgload(path.c_str(), &out, nullptr), out, path);
  const int longest = std::max(vips_image_get_width(header.get()), vips_image_get_height(header.get()));
  const double scale = static_cast<double>(size) / std::max(longest, 1);
  out = nullptr;
  return checked(vips_svgload(path.c_str(), &out, "scale", scale, nullptr), out, path);
}

// A decoded drawing: RGB or RGBA, alpha not premultiplied.
struct Drawing {
  int height = 0;
  int width = 0;
  int channels = 0;
  std::unique_ptr<std::uint8_t[], void (*)(void*)> pixels{nullptr, [](void* block) { g_free(block); }};

  [[nodiscard]] const std::uint8_t* at(int y, int x) const {
    return &pixels[(static_cast<std::size_t>(y) * width + x) * channels];
  }
};

// Whether everything visible has one colour, and that a light grey: a drawing for dark panels, which would all but
// vanish on white. The limits separate the panel icons of Numix (190 of 255), Papirus (223) and Obsidian (240) from
// shaded drawings of white things and from yellow ones.
bool is_for_dark_panels(const Drawing& drawing) {
  constexpr int visible_alpha = 128;
  constexpr int lightest_dark = 176;
  constexpr int same_colour = 24;
  constexpr int grey_range = 40;
  if (drawing.channels != 4) {
    return false;
  }
  std::array<int, 3> low{255, 255, 255};
  std::array<int, 3> high{0, 0, 0};
  for (int y = 0; y < drawing.height; ++y) {
    for (int x = 0; x < drawing.width; ++x) {
      const std::uint8_t* pixel = drawing.at(y, x);
      for (std::size_t c = 0; pixel[3] >= visible_alpha && c < 3; ++c) {
        low[c] = std::min(low[c], int{pixel[c]});
        high[c] = std::max(high[c], int{pixel[c]});
      }
    }
  }
  const auto [darkest, lightest] = std::minmax_element(low.begin(), low.end());
  bool one_colour = high[0] > 0;
  for (std::size_t c = 0; c < 3; ++c) {
    one_colour = one_colour && high[c] - low[c] <= same_colour;
  }
  return one_colour && *darkest >= lightest_dark && *lightest - *darkest <= grey_range;
}

// Composites over white in the middle of a white square. Drawings for dark panels are composited over black and
// inverted, which is what the themes' own light variants amount to: the same shape, dark on light.
Image on_white_square(const Drawing& drawing, int size) {
  const bool invert = is_for_dark_panels(drawing);
  Image image{.height = size, .width = size, .channels = 3, .pixels = {}};
  image.pixels.assign(static_cast<std::size_t>(size) * size * 3, 255);
  const int top = (size - drawing.height) / 2;
  const int left = (size - drawing.width) / 2;
  for (int y = 0; y < drawing.height; ++y) {
    for (int x = 0; x < drawing.width; ++x) {
      const std::uint8_t* from = drawing.at(y, x);
      const int alpha = drawing.channels == 4 ? from[3] : 255;
      std::uint8_t* to = &image.pixels[(static_cast<std::size_t>(top + y) * size + left + x) * 3];
      for (int c = 0; c < 3; ++c) {
        const int ink = invert ? 255 - from[c] : from[c];
        to[c] = static_cast<std::uint8_t>((alpha * ink + (255 - alpha) * 255 + 127) / 255);
      }
    }
  }
  return image;
}

VipsHandle load_png(const std::filesystem::path& path) {
  VipsImage* out = nullptr;
  // Without fail_on a truncated file decodes to whatever came before the tear.
  return checked(vips_pngload(path.c_str(), &out, "fail_on", VIPS_FAIL_ON_ERROR, nullptr), out, path);
}

}  // namespace

Image load_icon(const std::filesystem::path& path, int size) {
  SOUP_REQUIRE(size > 0, "an icon is decoded to at least one pixel");
  start_vips();
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return tolower(c); });
  VipsHandle image;
  if (extension == ".svg" || extension == ".svgz") {
    image = load_svg(path, size);
  } else if (extension == ".png") {
    image = load_png(path);
  } else {
    throw DataError(path, "is neither PNG nor SVG by its name");
  }
  VipsImage* out = nullptr;
  if (vips_image_get_width(image.get()) != size || vips_image_get_height(image.get()) != size) {
    // Fits into the square, premultiplying alpha; Lanczos 3 when reducing.
    image = checked(vips_thumbnail_image(image.get(), &out, size, "height", size, nullptr), out, path);
  }
  // 16-bit, palette and grey images become 8-bit RGB, with or without alpha.
  image = checked(vips_colourspace(image.get(), &out, VIPS_INTERPRETATION_sRGB, nullptr), out, path);
  image = checked(vips_cast_uchar(image.get(), &out, nullptr), out, path);
  Drawing drawing;
  drawing.height = vips_image_get_height(image.get());
  drawing.width = vips_image_get_width(image.get());
  drawing.channels = vips_image_get_bands(image.get());
  if ((drawing.channels != 3 && drawing.channels != 4) || drawing.height > size || drawing.width > size) {
    throw DataError(path, "cannot decode: has " + std::to_string(drawing.channels) + " channels and " +
                              std::to_string(drawing.height) + " x " + std::to_string(drawing.width) +
                              " pixels after conversion; expected 3 or 4 and at most " + std::to_string(size));
  }
  std::size_t bytes = 0;
  drawing.pixels.reset(static_cast<std::uint8_t*>(vips_image_write_to_memory(image.get(), &bytes)));
  if (drawing.pixels == nullptr) {
    checked(-1, nullptr, path);
  }
  SOUP_REQUIRE(bytes == static_cast<std::size_t>(drawing.height) * drawing.width * drawing.channels,
               "libvips returns the pixels of the size it states");
  return on_white_square(drawing, size);
}

}  // namespace soup
