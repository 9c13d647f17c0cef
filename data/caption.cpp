// How a caption and a style word become the text a model sees.
#include "data/caption.hpp"

namespace soup {

std::string styled_caption(std::string_view caption, std::string_view style) {
  std::string text(caption);
  if (style.empty()) {
    return text;
  }
  if (!text.empty()) {
    text += ", ";
  }
  return text.append(style).append(" style");
}

}  // namespace soup
