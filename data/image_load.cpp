// Decoding half of data/image.hpp: the only file that calls libvips.
#include <vips/vips.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>

#include "core/error.hpp"
#include "data/image.hpp"

namespace soup {
namespace {

struct Unref {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using VipsHandle = std::unique_ptr<VipsImage, Unref>;

std::once_flag start_once;
std::atomic<bool> started = false;

void start_vips() {
  std::call_once(start_once, [] {
    started = true;
    if (VIPS_INIT("soup") != 0) {
      throw InvariantError(std::string("libvips does not start: ") + vips_error_buffer());
    }
    vips_concurrency_set(1);  // icons are smaller than one tile
    vips_cache_set_max(0);    // no file is read twice
  });
}

// `status` is libvips's: 0 is success. `image` is taken by reference because the call that sets it is evaluated in the
// same argument list. Throws DataError with libvips's error text in one line.
VipsHandle checked(int status, VipsImage* const& image, const std::filesystem::path& path) {
  if (status != 0) {
    std::string text = vips_error_buffer();
    vips_error_clear();
    std::replace(text.begin(), text.end(), '\n', ' ');
    throw DataError(path, "cannot decode: " + text.substr(0, 300));
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

VipsHandle load_png(const std::filesystem::path& path) {
  VipsImage* out = nullptr;
  return checked(vips_pngload(path.c_str(), &out, nullptr), out, path);
}

}  // namespace

bool decoder_started() { return started; }

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
  // 16-bit, palette and grey images become 8-bit RGB.
  image = checked(vips_colourspace(image.get(), &out, VIPS_INTERPRETATION_sRGB, nullptr), out, path);
  if (vips_image_hasalpha(image.get()) != 0) {
    const std::unique_ptr<VipsArrayDouble, void (*)(VipsArrayDouble*)> white(
        vips_array_double_newv(3, 255.0, 255.0, 255.0),
        [](VipsArrayDouble* array) { vips_area_unref(VIPS_AREA(array)); });
    image = checked(vips_flatten(image.get(), &out, "background", white.get(), nullptr), out, path);
  }
  image = checked(vips_cast_uchar(image.get(), &out, nullptr), out, path);
  if (vips_image_get_bands(image.get()) != 3) {
    throw DataError(path, "cannot decode: has " + std::to_string(vips_image_get_bands(image.get())) +
                              " colour channels; expected 3");
  }
  if (vips_image_get_width(image.get()) != size || vips_image_get_height(image.get()) != size) {
    image = checked(vips_gravity(image.get(), &out, VIPS_COMPASS_DIRECTION_CENTRE, size, size, "extend",
                                 VIPS_EXTEND_WHITE, nullptr),
                    out, path);
  }
  std::size_t bytes = 0;
  const std::unique_ptr<void, void (*)(void*)> memory(vips_image_write_to_memory(image.get(), &bytes),
                                                      [](void* block) { g_free(block); });
  if (memory == nullptr) {
    checked(-1, nullptr, path);
  }
  const auto* begin = static_cast<const std::uint8_t*>(memory.get());
  Image result{.height = size, .width = size, .channels = 3, .pixels = {begin, begin + bytes}};
  SOUP_REQUIRE(bytes == static_cast<std::size_t>(size) * size * 3, "a decoded icon fills its square");
  return result;
}

}  // namespace soup
