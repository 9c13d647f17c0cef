// A line of text as an image, for labels in pictures.
#pragma once

#include <string>

#include "data/image.hpp"

namespace soup {

// Black on white, RGB, `height` pixels high (8 or more) and as wide as the text: every text of one height has its
// baseline in the same row. What is not UTF-8 or a control character is drawn as U+FFFD or a space; a text of nothing
// to see is one white column. Throws DataError when no font can be drawn.
//
// Starts libvips: see load_icon.
Image draw_text(const std::string& text, int height);

// The text, or its beginning with "..." behind it, as many characters as fit into `width` pixels; may be empty.
Image draw_text_within(const std::string& text, int height, int width);

}  // namespace soup
