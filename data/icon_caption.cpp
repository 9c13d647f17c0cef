#include "data/icon_caption.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "core/text.hpp"
#include "data/import.hpp"

namespace soup {
namespace {

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
char to_lower(char c) {
  return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Desktops, toolkits and the top levels of application identifiers ("org.kde.dolphin", "com.github.user.name"): they
// say who named the icon, not what it shows.
constexpr auto vendors =
    std::to_array<std::string_view>({"gnome", "kde", "xfce", "lxde", "lxqt", "mate", "gtk", "stock", "org", "com",
                                     "net", "io", "github", "gitlab", "freedesktop", "fs", "dev", "mime"});

// Left over from MIME types ("text-x-csrc", "application-vnd.ms-excel"): marks of unregistered types.
constexpr auto mime_marks = std::to_array<std::string_view>({"x", "vnd"});

constexpr auto colours = std::to_array<std::string_view>(
    {"black",      "blue",  "bluegrey", "brown",  "carmine", "cyan", "dark",    "darkcyan", "deeporange", "gold",
     "gray",       "green", "grey",     "indigo", "light",   "lime", "magenta", "olive",    "orange",     "palebrown",
     "paleorange", "pink",  "purple",   "red",    "silver",  "teal", "violet",  "white",    "yellow"});

// Papirus's folders come in colours named after themes, too.
constexpr auto folder_colours = std::to_array<std::string_view>({"adwaita", "breeze", "custom", "nordic", "yaru"});

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

}  // namespace

std::optional<std::string> canonical_context(std::string_view context) {
  std::string name(context);
  std::transform(name.begin(), name.end(), name.begin(), to_lower);
  constexpr std::array<std::pair<std::string_view, std::string_view>, 19> names{{
      {"actions", "actions"},       {"applets", "apps"},         {"applications", "apps"}, {"apps", "apps"},
      {"categories", "categories"}, {"devices", "devices"},      {"emblems", "emblems"},   {"emoticons", "emotes"},
      {"emotes", "emotes"},         {"filesystems", "places"},   {"filesytems", "places"}, {"mimes", "mimetypes"},
      {"mimetypes", "mimetypes"},   {"notifications", "status"}, {"panel", "status"},      {"places", "places"},
      {"preferences", "apps"},      {"status", "status"},        {"stock", "actions"},
  }};
  for (const auto& [spelling, canonical] : names) {
    if (spelling == name) {
      return std::string(canonical);
    }
  }
  return std::nullopt;
}

std::string caption_words(std::string_view file_stem) {
  std::vector<std::string> words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  };
  for (std::size_t i = 0; i < file_stem.size(); ++i) {
    const char c = file_stem[i];
    if (!is_upper(c) && !is_lower(c)) {
      end_word();
      continue;
    }
    // A capital starts a word after a small letter ("NetworkManager") and, at the end of a run of capitals, before one
    // ("VLCPlayer").
    const bool after_lower = i > 0 && is_lower(file_stem[i - 1]);
    const bool after_upper = i > 0 && is_upper(file_stem[i - 1]);
    const bool before_lower = i + 1 < file_stem.size() && is_lower(file_stem[i + 1]);
    if (is_upper(c) && (after_lower || (after_upper && before_lower))) {
      end_word();
    }
    word += to_lower(c);
  }
  end_word();
  std::size_t first = 0;
  while (first + 1 < words.size() && contains(vendors, words[first])) {
    ++first;
  }
  words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(first));
  if (words.size() > 1) {
    const std::vector<std::string> all = words;
    std::erase_if(words, [](const std::string& each) { return contains(mime_marks, each); });
    if (words.empty()) {
      words = all;
    }
  }
  return join(words);
}

std::string caption_key(std::string_view words) {
  std::vector<std::string> kept = split(words, ' ');
  const bool folder = kept.size() > 1 && (kept[0] == "folder" || kept[0] == "user");
  std::erase_if(kept, [&](const std::string& word) {
    return contains(colours, word) || (folder && contains(folder_colours, word));
  });
  return kept.empty() ? std::string(words) : join(kept);
}

}  // namespace soup
