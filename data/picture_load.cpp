// Decoding half of data/picture.hpp.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "core/error.hpp"
#include "data/aspect_buckets.hpp"
#include "data/picture.hpp"
#include "data/vips.hpp"

namespace soup {
namespace {

struct Loader {
  const char* nickname;
  std::string_view format;
};
constexpr std::array<Loader, 4> loaders{{{"VipsForeignLoadPngBuffer", "PNG"},
                                         {"VipsForeignLoadJpegBuffer", "JPEG"},
                                         {"VipsForeignLoadWebpBuffer", "WebP"},
                                         {"VipsForeignLoadSvgBuffer", "SVG"}}};

[[noreturn]] void fail(const std::string& name) {
  throw DataError(name, "cannot decode: " + take_vips_error());
}

VipsHandle checked(int status, VipsImage* const& image, const std::string& name) {
  if (status != 0) {
    fail(name);
  }
  return VipsHandle(image);
}

// What starts like this and is none of the four: named, because it is often met under a picture's name.
std::string_view other_kind(std::span<const std::byte> bytes) {
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), std::min<std::size_t>(bytes.size(), 32));
  const auto begins = [&](std::string_view with) { return start.starts_with(with); };
  if (begins("GIF8")) {
    return "it is a GIF";
  }
  if (begins("BM")) {
    return "it looks like a BMP";
  }
  if (begins("II*") || begins("MM")) {
    return "it looks like a TIFF";
  }
  if (start.size() > 12 && start.substr(4, 4) == "ftyp") {
    return "it looks like AVIF, HEIC or a film";
  }
  if (begins("<!DOCTYPE html") || begins("<!doctype html") || begins("<html")) {
    return "it is a web page";
  }
  return "it looks like none of them";
}

std::string_view format_of(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.empty()) {
    throw DataError(name, "is empty (0 bytes)");
  }
  const char* loader = vips_foreign_find_load_buffer(bytes.data(), bytes.size());
  vips_error_clear();
  const std::string_view found = loader == nullptr ? "" : loader;
  const auto known = std::ranges::find(loaders, found, &Loader::nickname);
  if (known == loaders.end()) {
    throw DataError(name, "is not a PNG, JPEG, WebP or SVG by its content: " + std::string(other_kind(bytes)));
  }
  return known->format;
}

// Upright height and width, from the header alone.
ImageSize size_of(std::span<const std::byte> bytes, const std::string& name) {
  const VipsHandle header(vips_image_new_from_buffer(bytes.data(), bytes.size(), "", nullptr));
  if (!header) {
    fail(name);
  }
  ImageSize size{vips_image_get_height(header.get()), vips_image_get_width(header.get())};
  if (vips_image_get_orientation_swap(header.get()) != 0) {
    std::swap(size.height, size.width);
  }
  return size;
}

// Upright, scaled to cover `target` or to fit into it.
VipsHandle scaled(std::span<const std::byte> bytes, const std::string& name, ImageSize target, Fit fit,
                  ImageSize original) {
  // vips_thumbnail fits into a box. Where the target is to be covered, only the side that needs the larger scale
  // counts. (Its own cropping computes all that it cuts off.)
  if (fit == Fit::crop) {
    const double by_width = static_cast<double>(original.width) / target.width;
    const double by_height = static_cast<double>(original.height) / target.height;
    (by_width < by_height ? target.height : target.width) = VIPS_MAX_COORD;
  }
  void* data = const_cast<std::byte*>(bytes.data());  // libvips does not write to it
  VipsImage* out = nullptr;
  // Without fail_on a truncated file decodes to whatever came before the tear.
  if (vips_thumbnail_buffer(data, bytes.size(), &out, target.width, "height", target.height, "size", VIPS_SIZE_BOTH,
                            "option_string", "[fail_on=error]", nullptr) == 0) {
    return VipsHandle(out);
  }
  fail(name);
}

// Out of the colours of the embedded profile into those of the connection space. An image without a profile, or with
// one that cannot be used, stays as it is. (vips_thumbnail's own way goes by a perceptual sRGB profile, which makes
// other colours even of plain sRGB.)
VipsHandle without_profile(VipsHandle image) {
  VipsImage* out = nullptr;
  if (vips_image_get_typeof(image.get(), VIPS_META_ICC_NAME) == 0 ||
      vips_icc_import(image.get(), &out, "embedded", TRUE, "pcs", VIPS_PCS_LAB, nullptr) != 0) {
    vips_error_clear();
    return image;
  }
  return VipsHandle(out);
}

// 16-bit, palette, grey and CMYK images become 8-bit RGB, alpha goes over white.
VipsHandle flattened(VipsHandle image, const std::string& name) {
  VipsImage* out = nullptr;
  image = without_profile(std::move(image));
  image = checked(vips_colourspace(image.get(), &out, VIPS_INTERPRETATION_sRGB, nullptr), out, name);
  image = checked(vips_cast_uchar(image.get(), &out, nullptr), out, name);
  if (vips_image_hasalpha(image.get()) != 0) {
    constexpr std::array<double, 3> white{255.0, 255.0, 255.0};
    const std::unique_ptr<VipsArrayDouble, void (*)(void*)> background(
        vips_array_double_new(white.data(), static_cast<int>(white.size())),
        [](void* area) { vips_area_unref(VIPS_AREA(area)); });
    image = checked(vips_flatten(image.get(), &out, "background", background.get(), nullptr), out, name);
  }
  return image;
}

// In the middle of a white image of the target's size.
Image on_white(const Image& image, ImageSize target) {
  Image sheet = white_image(target.height, target.width);
  paste(image, (target.height - image.height) / 2, (target.width - image.width) / 2, 1, sheet);
  return sheet;
}

// The middle of the image, at most as large as `target`.
Image in_memory(const VipsHandle& image, const std::string& name, ImageSize target) {
  if (vips_image_get_bands(image.get()) != 3) {
    throw DataError(name, "cannot decode: has " + std::to_string(vips_image_get_bands(image.get())) +
                              " channels after conversion to RGB");
  }
  const ImageSize whole{vips_image_get_height(image.get()), vips_image_get_width(image.get())};
  Image out{.height = std::min(whole.height, target.height),
            .width = std::min(whole.width, target.width),
            .channels = 3,
            .pixels = {}};
  const int top = (whole.height - out.height) / 2;
  const int left = (whole.width - out.width) / 2;
  // What lies on the right is never computed. What lies on the left is, since columns that begin elsewhere are rounded
  // otherwise; and all rows are, since a file's tear may lie in the last.
  VipsImage* used = nullptr;
  const VipsHandle part =
      checked(vips_extract_area(image.get(), &used, 0, 0, left + out.width, whole.height, nullptr), used, name);
  std::size_t bytes = 0;
  const std::unique_ptr<std::uint8_t[], void (*)(void*)> pixels(
      static_cast<std::uint8_t*>(vips_image_write_to_memory(part.get(), &bytes)), [](void* block) { g_free(block); });
  if (pixels == nullptr) {
    fail(name);
  }
  const std::size_t row = 3 * static_cast<std::size_t>(left + out.width);
  for (int y = top; y < top + out.height; ++y) {
    const std::uint8_t* begin = pixels.get() + static_cast<std::size_t>(y) * row + 3 * static_cast<std::size_t>(left);
    out.pixels.insert(out.pixels.end(), begin, begin + 3 * static_cast<std::ptrdiff_t>(out.width));
  }
  return out;
}

}  // namespace

Picture load_picture(std::span<const std::byte> bytes, const std::string& name, const PictureOptions& options) {
  SOUP_REQUIRE(!options.sizes.empty(), "a picture is fitted to some size");
  start_vips();
  Picture picture;
  picture.format = format_of(bytes, name);
  const ImageSize size = size_of(bytes, name);
  picture.original = size;
  const std::uint64_t pixels = static_cast<std::uint64_t>(size.height) * static_cast<std::uint64_t>(size.width);
  // A drawing's size says nothing: it is drawn at the size that is wanted.
  if (picture.format != "SVG" && pixels > options.max_pixels) {
    throw DataError(name, "is " + std::to_string(size.height) + " x " + std::to_string(size.width) + ", " +
                              std::to_string(pixels) + " pixels; at most " + std::to_string(options.max_pixels) +
                              " are decoded (a decompression bomb?)");
  }
  if (picture.format != "SVG" && std::min(size.height, size.width) < options.min_side) {
    return picture;
  }
  const ImageSize target = nearest_bucket(options.sizes, size);
  Image image = in_memory(flattened(scaled(bytes, name, target, options.fit, size), name), name, target);
  const bool exact = image.height == target.height && image.width == target.width;
  if (image.height > target.height || image.width > target.width || (options.fit == Fit::crop && !exact)) {
    throw DataError(name, "cannot decode: is " + std::to_string(image.height) + " x " + std::to_string(image.width) +
                              " after scaling to " + std::to_string(target.height) + " x " +
                              std::to_string(target.width));
  }
  picture.image = exact ? std::move(image) : on_white(image, target);
  return picture;
}

std::string_view format_of_name(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  std::string extension(dot == std::string_view::npos ? "" : name.substr(dot + 1));
  std::ranges::transform(extension, extension.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> known{{{"png", "PNG"},
                                                                                {"jpg", "JPEG"},
                                                                                {"jpeg", "JPEG"},
                                                                                {"jpe", "JPEG"},
                                                                                {"jfif", "JPEG"},
                                                                                {"webp", "WebP"},
                                                                                {"svg", "SVG"},
                                                                                {"svgz", "SVG"}}};
  for (const auto& [end, format] : known) {
    if (extension == end) {
      return format;
    }
  }
  return {};
}

}  // namespace soup
