// Height and width of an image in pixels.
#pragma once

#include <compare>

namespace soup {

struct ImageSize {
  int height = 0;
  int width = 0;
  auto operator<=>(const ImageSize&) const = default;
};

}  // namespace soup
