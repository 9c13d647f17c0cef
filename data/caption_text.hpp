// Captions as people wrote them, made fit for a shard.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace soup {

struct CleanCaption {
  std::string text;
  bool changed = false;  // white space or control characters were taken out
  bool cut = false;      // it was longer than a shard's texts may be
};

// Runs of Unicode white space become one space, those at the ends go; control characters (general category Cc) and byte
// order marks go; what is longer than 4,096 bytes is cut behind its last whole word. nullopt when it is not UTF-8.
std::optional<CleanCaption> clean_caption(std::string_view text);

// What held-out is decided on where the source names no key: the clean caption with ASCII letters in lower case, so
// that equal captions are held out together.
std::string key_of_caption(std::string_view clean);

}  // namespace soup
