// The words of an icon's caption and the key that held-out is decided on, from its file name and context.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace soup {

// The contexts that captions use.
inline constexpr std::array<std::string_view, 9> icon_contexts = {
    "actions", "apps", "categories", "devices", "emblems", "emotes", "mimetypes", "places", "status"};
// One of them, from a context as index.theme spells it ("Applications", "MimeTypes", "FileSystems"); nothing for
// contexts that are no pictures of things (animations, cursors, flags of "International", the mixed bag "Legacy").
std::optional<std::string> canonical_context(std::string_view context);

// caption_words() without words for colours, unless nothing else is left: "folder blue music" -> "folder music". Themes
// draw one idea in many colours, and a held-out idea must be held out in all of them.
std::string caption_key(std::string_view words);

}  // namespace soup
