// Importers: sources of captioned images into shard files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/log.hpp"

namespace soup {

// A freedesktop icon theme (https://specifications.freedesktop.org/icon-theme-spec): index.theme names the directories,
// their sizes and contexts.
struct IconThemeSource {
  std::filesystem::path root;  // folder that holds index.theme
  std::string package;         // Debian package, named in errors and in the file
  std::string style;           // style word of the captions ("oxygen"); empty: lower-case theme folder name
  std::vector<std::string>
      contexts;  // lower-case; empty: actions, apps, categories, devices, emblems, emotes, mimetypes, places, status
  std::uint64_t limit = 0;          // most images kept, chosen by digest order of the key (no alphabet bias); 0 = all
  std::uint64_t per_key_limit = 0;  // most images with one key; 0 = all
};

// Fashion-MNIST and its relatives: IDX files (gzip or plain), one caption per class.
struct IdxSource {
  std::filesystem::path images;
  std::filesystem::path labels;
  std::vector<std::string> class_names;
  std::string package;
  std::string style;
  std::string licence;
  std::vector<int> classes;  // labels kept; empty: all
  std::uint64_t limit = 0;
};

struct ImportOptions {
  std::string shard;                  // shard name
  int resolution = 32;                // pixels
  int workers = 2;                    // decoding processes
  double seconds_per_image = 10.0;    // processor time; an image that takes longer is reported and skipped
  double max_broken_fraction = 0.05;  // more unreadable images than this: DataError
};

struct ImportReport {
  std::uint64_t files = 0;
  std::uint64_t kept = 0;
  std::uint64_t symlinks = 0;       // resolved to a file already seen
  std::uint64_t duplicates = 0;     // pixel-equal to an earlier image of the same source
  std::uint64_t blank = 0;          // near-blank (pixel standard deviation under 3)
  std::vector<std::string> broken;  // "path: why", in path order
};

// Both write `path` (complete or not at all) and return what happened; the result depends only on source and options,
// not on workers.
ImportReport import_icon_theme(const IconThemeSource& source, const ImportOptions& options,
                               const std::filesystem::path& path, Log& log);
ImportReport import_idx(const IdxSource& source, const ImportOptions& options, const std::filesystem::path& path,
                        Log& log);

// Words of an icon file's name: split at non-letters and camelCase, lower case, generic leading words dropped.
std::string caption_words(std::string_view file_stem);

}  // namespace soup
