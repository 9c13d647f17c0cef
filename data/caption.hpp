// How a caption and a style word become the text a model sees: one rule for training, prompts and scores.
#pragma once

#include <string>
#include <string_view>

namespace soup {

// "devices printer network" + "oxygen" -> "devices printer network, oxygen style"; without a style the caption itself.
std::string styled_caption(std::string_view caption, std::string_view style);

}  // namespace soup
