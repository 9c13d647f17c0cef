// What a freedesktop icon theme holds: index.theme read, and one file chosen for each icon.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace soup {

// One section of index.theme that describes a folder of icons.
struct ThemeFolder {
  std::string path;     // relative to the theme's root
  std::string context;  // one of canonical_context()
  int size = 0;         // nominal pixels, without Scale
  int scale = 1;
  bool scalable = false;  // Type=Scalable
};

// Folders with a usable context, sorted by path. A context that is misspelt or missing is taken from the folder's name.
// Throws DataError: no index.theme, not text, no folders.
std::vector<ThemeFolder> read_theme_index(const std::filesystem::path& root);

// One icon: the file that serves `resolution` best.
struct ThemeIcon {
  std::string context;
  std::string name;                // file name without extension
  std::filesystem::path file;      // relative to the theme's root
  std::filesystem::path resolved;  // what it is after symlinks
};

struct ThemeIcons {
  std::vector<ThemeIcon> icons;  // sorted by context, then name
  std::uint64_t files = 0;       // PNG and SVG files and links looked at
  std::uint64_t symlinks = 0;    // icons dropped because their file serves an earlier icon, or is not there
};

// For each (context, name): a drawing of exactly `resolution` pixels, else the smallest larger one, else a scalable
// drawing, else the largest smaller one of at least half the resolution. Among icons that are one file after symlinks,
// the one that is the file itself is kept, else the first by context and name. Symbolic icons (one-colour masks) are
// left out. `contexts`: those wanted; empty for all.
ThemeIcons choose_icons(const std::filesystem::path& root, const std::vector<ThemeFolder>& folders,
                        const std::vector<std::string>& contexts, int resolution);

}  // namespace soup
