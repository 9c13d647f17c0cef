// Picture files of every kind, made by libvips in a process of its own, and tars made by hand.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/vips.hpp"
#include "tests/data/samples.hpp"

namespace soup::test {

// libvips's threads do not survive a fork, and tests fork decoders: it may only be used in a child.
inline void in_child(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    start_vips();
    body();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "a picture could not be made";
}

// Ends the child with a message when `status` is a failure of libvips.
inline void made(int status) {
  if (status != 0) {
    std::fprintf(stderr, "%s\n", vips_error_buffer());
    _exit(1);
  }
}

struct PictureKind {
  std::string target;  // where and how, as libvips writes it: "/tmp/x.jpg[Q=95]"; the bytes may be renamed
  int height = 16;
  int width = 16;
  int orientation = 0;                                           // EXIF, 1 to 8; 0: none
  VipsInterpretation interpretation = VIPS_INTERPRETATION_sRGB;  // converted to before it is written
  bool alpha = false;                                            // half transparent
  std::string profile = {};                                      // of libvips's own: "cmyk", "p3"; converted to
};

// `colour(y, x)` as 0xRRGGBB.
inline void write_picture(const PictureKind& kind, const std::function<unsigned(int, int)>& colour) {
  const int bands = kind.alpha ? 4 : 3;
  std::vector<std::uint8_t> pixels;
  for (int y = 0; y < kind.height; ++y) {
    for (int x = 0; x < kind.width; ++x) {
      const unsigned rgb = colour(y, x);
      for (const unsigned shift : {16U, 8U, 0U}) {
        pixels.push_back(static_cast<std::uint8_t>(rgb >> shift));
      }
      if (kind.alpha) {
        pixels.push_back(128);
      }
    }
  }
  in_child([&] {
    VipsImage* image =
        vips_image_new_from_memory(pixels.data(), pixels.size(), kind.width, kind.height, bands, VIPS_FORMAT_UCHAR);
    VipsImage* next = nullptr;
    made(vips_copy(image, &next, "interpretation", VIPS_INTERPRETATION_sRGB, nullptr));
    image = next;
    if (!kind.profile.empty()) {
      // Not vips_icc_transform: libvips's own sRGB profile is a perceptual one, which makes other colours.
      made(vips_colourspace(image, &next, VIPS_INTERPRETATION_LAB, nullptr));
      image = next;
      made(vips_icc_export(image, &next, "output_profile", kind.profile.c_str(), "pcs", VIPS_PCS_LAB, nullptr));
      image = next;
    } else if (kind.interpretation != VIPS_INTERPRETATION_sRGB) {
      made(vips_colourspace(image, &next, kind.interpretation, nullptr));
      image = next;
    }
    if (kind.orientation > 0) {
      vips_image_set_int(image, VIPS_META_ORIENTATION, kind.orientation);
    }
    made(vips_image_write_to_file(image, kind.target.c_str(), nullptr));
  });
}

// A picture of one colour as bytes of its format.
inline std::string picture_bytes(const std::string& end, unsigned rgb, int height = 16, int width = 16) {
  const TemporaryFolder folder;
  const std::string path = (folder / ("x." + end)).string();
  write_picture({.target = path + (end == "webp" ? "[lossless]" : ""), .height = height, .width = width},
                [rgb](int, int) { return rgb; });
  return read_bytes(path);
}

// One member as POSIX's ustar format has it (IEEE 1003.1, pax, "ustar Interchange Format"), padded to 512 bytes.
inline std::string tar_member(const std::string& name, std::string_view content, char type = '0') {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, std::string_view text) { header.replace(at, text.size(), text); };
  char number[16];
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  std::snprintf(number, sizeof number, "%011zo", type == '0' ? content.size() : std::size_t{0});
  put(124, number);
  put(136, "00000000000");
  put(148, "        ");
  header[156] = type;
  if (type != '0') {
    put(157, content);  // the target of a link
  }
  put(257, std::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : header) {
    sum += static_cast<unsigned char>(c);
  }
  std::snprintf(number, sizeof number, "%06o", sum);
  put(148, std::string_view(number, 7));
  if (type != '0') {
    return header;
  }
  std::string padded(content);
  padded.resize((content.size() + 511) / 512 * 512, '\0');
  return header + padded;
}

inline std::string tar_end() {
  return std::string(1024, '\0');
}

}  // namespace soup::test
