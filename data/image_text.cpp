// A line of text as an image, drawn by libvips (Pango and the fonts that fontconfig finds).
#include "data/image_text.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "core/text.hpp"
#include "data/vips.hpp"

namespace soup {
namespace {

struct FreeText {
  void operator()(char* text) const { g_free(text); }
};

// One line that Pango takes: UTF-8, no line breaks, nothing that it reads as markup.
std::string as_markup(const std::string& text) {
  std::string line = excerpt(text, text.size());
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  const std::unique_ptr<char, FreeText> escaped(g_markup_escape_text(line.c_str(), -1));
  return escaped.get();
}

}  // namespace

Image draw_text(const std::string& text, int height) {
  SOUP_REQUIRE(height >= 8, "a line of text is at least 8 pixels high");
  const std::string markup = as_markup(text);
  if (markup.find_first_not_of(' ') == std::string::npos) {  // libvips calls that an error
    return white_image(height, 1);
  }
  start_vips();
  // At 72 dots per inch a point is a pixel. Letters with accents and descenders take about 1.2 times the font's size.
  const std::string font = "sans " + std::to_string(static_cast<double>(height) / 1.35);
  const int above = height / 20;
  VipsImage* out = nullptr;
  if (vips_text(&out, markup.c_str(), "font", font.c_str(), "dpi", 72, nullptr) != 0) {
    throw DataError("fonts", "the text \"" + excerpt(text) + "\" cannot be drawn: " + take_vips_error(),
                    "labels need a font that fontconfig finds, as those of the package fonts-dejavu-core");
  }
  const VipsHandle ink(out);
  std::size_t bytes = 0;
  const std::unique_ptr<void, void (*)(void*)> pixels(vips_image_write_to_memory(ink.get(), &bytes), g_free);
  const int width = vips_image_get_width(ink.get());
  const int rows = vips_image_get_height(ink.get());
  SOUP_REQUIRE(pixels != nullptr && bytes == static_cast<std::size_t>(width) * rows,
               "libvips returns a byte a pixel of a text");
  const auto* coverage = static_cast<const std::uint8_t*>(pixels.get());
  Image letters = white_image(rows, width);
  for (std::size_t i = 0; i < bytes; ++i) {
    std::fill_n(&letters.pixels[i * 3], 3, static_cast<std::uint8_t>(255 - coverage[i]));
  }
  // libvips cuts the image to the ink and says where in the line that was.
  const int left = std::max(0, vips_image_get_xoffset(ink.get()));
  Image line = white_image(height, left + width);
  paste(letters, above + vips_image_get_yoffset(ink.get()), left, 1, line);
  return line;
}

Image draw_text_within(const std::string& text, int height, int width) {
  Image line = draw_text(text, height);
  std::size_t fitting = 0;
  std::size_t too_long = text.size();
  Image shortened = white_image(height, 1);
  if (line.width <= width) {
    return line;
  }
  while (fitting + 1 < too_long) {  // the most bytes that fit
    const std::size_t bytes = (fitting + too_long) / 2;
    line = draw_text(excerpt(text, bytes), height);
    if (line.width <= width) {
      fitting = bytes;
      shortened = std::move(line);
    } else {
      too_long = bytes;
    }
  }
  return shortened;
}

}  // namespace soup
