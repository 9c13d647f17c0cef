// Importers: sources of captioned images into shard files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/log.hpp"
#include "data/image_folder.hpp"
#include "data/picture.hpp"
#include "data/webdataset.hpp"

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

enum class MissingCaption { refuse, skip, empty };
enum class OnBroken { skip, refuse };

// What a folder's and a WebDataset's pictures become.
struct CaptionedOptions {
  std::string style;    // style word of all captions; empty: none
  std::string licence;  // kept in the shard
  MissingCaption missing_caption = MissingCaption::refuse;
  OnBroken on_broken = OnBroken::skip;
  Fit fit = Fit::crop;
  int min_side = 0;                        // pixels; pictures whose smaller side is less are skipped
  std::uint64_t max_pixels = 178'956'970;  // PictureOptions says why
  bool buckets = false;                    // aspect-ratio buckets, else squares
  int bucket_step = 64;                    // pixels, as AspectBucketOptions has them
  int bucket_least_side = 256;
  int bucket_most_side = 1024;
  std::uint64_t limit = 0;  // at most so many images, the first ones; 0: all
};

// The sizes that such pictures are fitted to. Throws ConfigError where there are no such buckets.
std::vector<ImageSize> sizes_of(const CaptionedOptions& captioned, int resolution);

struct FolderSource {
  ImageFolderSource folder;
  CaptionedOptions options;
};

struct TarsSource {
  WebDatasetSource tars;
  CaptionedOptions options;
};

struct ImportOptions {
  std::string shard;                  // shard name
  int resolution = 32;                // pixels
  double save_seconds = 10.0;         // a resumable import is saved this often
  int workers = 2;                    // decoding processes
  double seconds_per_image = 10.0;    // processor time; an image that takes longer is reported and skipped
  double max_broken_fraction = 0.05;  // more unreadable images than this: DataError
  std::filesystem::path notes = {};   // of folders and tars: the list of skipped items; empty: <path>.notes.jsonl
};

struct ImportReport {
  std::uint64_t files = 0;
  std::uint64_t kept = 0;
  std::uint64_t symlinks = 0;       // resolved to a file already seen
  std::uint64_t duplicates = 0;     // pixel-equal to an earlier image of the same source
  std::uint64_t blank = 0;          // near-blank (pixel standard deviation under 3)
  std::uint64_t unreadable = 0;     // broken items
  std::vector<std::string> broken;  // "path: why", in path order; of folders and tars the first 100

  // Of folders and tars.
  std::uint64_t too_small = 0;         // skipped: the smaller side is under min_side
  std::uint64_t without_caption = 0;   // skipped, or kept with an empty one
  std::uint64_t cleaned_captions = 0;  // white space or control characters were taken out
  std::uint64_t cut_captions = 0;      // at 4,096 bytes
  std::uint64_t wrong_extension = 0;   // kept: what the picture is was seen by its content
  std::filesystem::path notes;         // the list of what was skipped or has a wrong extension; empty: there is none
};

// All write `path` (complete or not at all) and return what happened; the result depends only on source and options,
// not on workers.
ImportReport import_icon_theme(const IconThemeSource& source, const ImportOptions& options,
                               const std::filesystem::path& path, Log& log);
ImportReport import_idx(const IdxSource& source, const ImportOptions& options, const std::filesystem::path& path,
                        Log& log);

// These keep what is done in `<path>.partial` when they are stopped (Interrupted) or killed, and go on from there when
// they are called again; the result is the same. Skipped items are listed in `options.notes`, one JSON object a
// line: item, kind (broken, small, caption, extension), why. Memory does not grow with the number of images, but for
// what image_folder.hpp and webdataset.hpp say.
ImportReport import_folder(const FolderSource& source, const ImportOptions& options, const std::filesystem::path& path,
                           Log& log);
ImportReport import_webdataset(const TarsSource& source, const ImportOptions& options,
                               const std::filesystem::path& path, Log& log);

// What happened beside keeping images, as "3 links, 1 unreadable"; "nothing left out" when that is all.
std::string summary_of(const ImportReport& report);

// Words of an icon file's name: split at non-letters and camelCase, lower case, generic leading words dropped.
std::string caption_words(std::string_view file_stem);

}  // namespace soup
