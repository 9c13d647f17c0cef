#include "data/image_folder.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <functional>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/text.hpp"
#include "data/metadata_rows.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t longest_caption_file = 1U << 20;  // bytes
// Files that look like pictures: what they are is seen when they are decoded.
constexpr std::array<std::string_view, 17> picture_ends{".png",  ".jpg",  ".jpeg", ".jpe", ".jfif", ".webp",
                                                        ".svg",  ".svgz", ".gif",  ".bmp", ".tif",  ".tiff",
                                                        ".avif", ".heic", ".heif", ".ico", ".jp2"};

std::string lower_end(const fs::path& path) {
  std::string end = path.extension().string();
  std::ranges::transform(end, end.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return end;
}

bool looks_like_picture(const fs::path& path) {
  return std::ranges::find(picture_ends, lower_end(path)) != picture_ends.end();
}

// Whether `path` stays where it starts from: relative, and never above its beginning.
bool stays_inside(const fs::path& path) {
  int depth = 0;
  for (const fs::path& part : path) {
    if (part == ".." && --depth < 0) {
      return false;
    }
    depth += part == ".." || part == "." ? 0 : 1;
  }
  return !path.is_absolute();
}

// Sorted texts in one block of memory.
class PathList {
 public:
  void add(std::string_view path) {
    if (text_.size() + path.size() > std::numeric_limits<std::uint32_t>::max() - 1) {
      throw DataError(std::string(path), "the folder's paths are longer than 4 GiB together", "import it in parts");
    }
    begins_.push_back(static_cast<std::uint32_t>(text_.size()));
    text_.append(path).push_back('\0');
  }
  void sort() {
    std::ranges::sort(begins_, {}, [this](std::uint32_t begin) { return at(begin); });
    begins_.shrink_to_fit();
    text_.shrink_to_fit();
  }
  [[nodiscard]] std::size_t size() const { return begins_.size(); }
  std::string_view operator[](std::size_t index) const { return at(begins_[index]); }
  [[nodiscard]] std::optional<std::size_t> find(std::string_view path) const {
    const auto found = std::ranges::lower_bound(begins_, path, {}, [this](std::uint32_t begin) { return at(begin); });
    const bool equal = found != begins_.end() && at(*found) == path;
    return equal ? std::optional(static_cast<std::size_t>(found - begins_.begin())) : std::nullopt;
  }

 private:
  [[nodiscard]] std::string_view at(std::uint32_t begin) const { return text_.data() + begin; }
  std::string text_;
  std::vector<std::uint32_t> begins_;
};

class ImageFolder final : public CaptionedSource {
 public:
  explicit ImageFolder(const ImageFolderSource& source) : source_(source) {
    std::error_code error;
    root_ = fs::canonical(source.path, error);
    if (error || !fs::is_directory(root_, error)) {
      throw DataError(source.path, error ? "cannot be found: " + error.message() : "is not a folder",
                      "give the folder that holds the images");
    }
    list("");
    pictures_.sort();
    // Folders are listed in no order of their own.
    std::ranges::sort(metadata_, {}, &Metadata::below);
    work_out_identity();
  }

  void seek(SourcePlace place) override { next_ = place.item; }
  [[nodiscard]] SourcePlace place() const override { return {.part = 0, .item = next_}; }
  [[nodiscard]] std::optional<std::uint64_t> total() override {
    read_all_metadata();
    return problems_.size() + pictures_.size();
  }
  [[nodiscard]] double part_done() override {
    return static_cast<double>(next_) / static_cast<double>(std::max<std::uint64_t>(1, *total()));
  }
  [[nodiscard]] Digest identity() const override { return identity_; }

  std::optional<SourceItem> next() override {
    if (next_ >= *total()) {
      return std::nullopt;
    }
    const std::uint64_t number = next_++;
    if (number < problems_.size()) {
      return SourceItem{.name = problems_[number].first,
                        .problem = problems_[number].second,
                        .file = {},
                        .bytes = {},
                        .caption = {},
                        .key = {}};
    }
    return picture(number - problems_.size());
  }

 private:
  // A row's metadata file and where it begins there. Of pictures without one the file is -1.
  struct RowPlace {
    std::int32_t file = -1;
    std::uint64_t offset = 0;
  };
  // A metadata file and its folder, relative to the root, with a slash behind it or empty.
  struct Metadata {
    std::string below;
    MetadataFile file;
  };

  // Adds what is in the folder `below` (relative, with a slash behind it or empty) and in folders in it.
  void list(const std::string& below) {
    std::vector<std::string> folders;
    std::error_code error;
    for (fs::directory_iterator entry(root_ / below, error), end; !error && entry != end; entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (name.starts_with(".")) {
        continue;
      }
      if (!is_utf8(name)) {
        problems_.emplace_back(excerpt(below + name), "its name is not UTF-8");
        continue;
      }
      std::error_code ignored;  // what cannot be looked at is neither folder nor file
      if (entry->is_symlink(ignored) && entry->is_directory(ignored)) {
        problems_.emplace_back(below + name, "is a link to a folder; such folders are not entered");
      } else if (entry->is_directory(ignored)) {
        folders.push_back(below + name + "/");
      } else if (name == "metadata.jsonl" || name == "metadata.csv") {
        add_metadata(below, entry->path());
      } else if (looks_like_picture(name)) {
        pictures_.add(below + name);
      }
    }
    if (error) {
      throw DataError(root_ / below, "cannot be listed: " + error.message());
    }
    for (const std::string& folder : folders) {
      list(folder);
    }
  }

  void add_metadata(const std::string& below, const fs::path& file) {
    for (const Metadata& other : metadata_) {
      if (other.below == below) {
        throw DataError(file,
                        "lies beside " + other.file.path().filename().string() + "; which of them has the captions?",
                        "remove one of them");
      }
    }
    metadata_.push_back({below, MetadataFile(file, source_.caption_key, source_.held_out_key)});
  }

  // Once: whoever wants the identity alone does not wait for it.
  void read_all_metadata() {
    if (std::exchange(metadata_read_, true)) {
      return;
    }
    rows_.resize(metadata_.empty() ? 0 : pictures_.size());
    for (std::size_t i = 0; i < metadata_.size(); ++i) {
      read_metadata(i);
    }
    std::ranges::sort(problems_);
  }

  void read_metadata(std::size_t number) {
    const Metadata& metadata = metadata_[number];
    const std::string file = metadata.below + metadata.file.path().filename().string();
    metadata.file.each_row([&](const MetadataRow& row) {
      const auto problem = [&](const std::string& what) {
        problems_.emplace_back(fmt::format("{}:{}", file, row.line), what);
      };
      const std::string shown = excerpt(row.file_name, 200);
      if (!row.problem.empty()) {
        problem(row.problem);
      } else if (!stays_inside(metadata.below / fs::path(row.file_name)) || fs::path(row.file_name).is_absolute()) {
        problem(fmt::format("\"{}\" leads out of the folder", shown));
      } else {
        const std::string path = (metadata.below / fs::path(row.file_name)).lexically_normal().string();
        const std::optional<std::size_t> found = pictures_.find(path);
        if (!found) {
          std::error_code ignored;
          problem(fs::exists(root_ / path, ignored) ? fmt::format("\"{}\" is no picture by its name", shown)
                                                    : fmt::format("\"{}\" is not there", shown));
        } else if (rows_[*found].file >= 0) {
          const RowPlace& first = rows_[*found];
          const Metadata& other = metadata_[static_cast<std::size_t>(first.file)];
          problem(fmt::format("\"{}\" was named before, in line {} of {}", shown, other.file.line_of(first.offset),
                              other.below + other.file.path().filename().string()));
        } else {
          rows_[*found] = {static_cast<std::int32_t>(number), row.offset};
        }
      }
    });
  }

  // Names, lengths and times of all pictures and metadata files. Captions beside pictures count by the times of their
  // folders' other files only as far as they are read: a changed caption is not noticed before the import is whole.
  void work_out_identity() {
    Sha256 hash;
    hash.update("soup image folder 1");
    const auto add = [&](std::string_view path) {
      struct stat status {};
      const bool found = ::stat((root_ / path).c_str(), &status) == 0;
      hash.update_field(path);
      hash.update_u64(found ? static_cast<std::uint64_t>(status.st_size) : 0);
      hash.update_u64(found ? static_cast<std::uint64_t>(status.st_mtim.tv_sec) : 0);
      hash.update_u64(found ? static_cast<std::uint64_t>(status.st_mtim.tv_nsec) : 0);
    };
    for (const Metadata& metadata : metadata_) {
      add(metadata.below + metadata.file.path().filename().string());
    }
    for (std::size_t i = 0; i < pictures_.size(); ++i) {
      add(pictures_[i]);
    }
    identity_ = hash.finish();
  }

  SourceItem picture(std::size_t index) const {
    SourceItem item{
        .name = std::string(pictures_[index]), .problem = {}, .file = {}, .bytes = {}, .caption = {}, .key = {}};
    item.file = root_ / item.name;
    std::error_code error;
    if (fs::is_symlink(item.file, error)) {
      const fs::path target = fs::canonical(item.file, error);
      const fs::path below = target.lexically_relative(root_);
      if (error || below.empty() || *below.begin() == "..") {
        item.problem = error ? "is a broken link" : "is a link that leads out of the folder";
        return item;
      }
    }
    if (!fs::is_regular_file(item.file, error)) {
      item.problem = error ? "cannot be looked at: " + error.message() : "is not a regular file";
      return item;
    }
    if (!rows_.empty() && rows_[index].file >= 0) {
      MetadataRow row = metadata_[static_cast<std::size_t>(rows_[index].file)].file.row_at(rows_[index].offset);
      item.caption = std::move(row.caption);
      item.key = std::move(row.key);
    }
    if (!item.caption) {
      read_caption_file(item);
    }
    return item;
  }

  void read_caption_file(SourceItem& item) const {
    for (const char* end : {".txt", ".caption"}) {
      for (fs::path file : {fs::path(item.file).replace_extension(end), fs::path(item.file.string() + end)}) {
        std::error_code error;
        if (!fs::is_regular_file(fs::symlink_status(file, error))) {
          continue;
        }
        try {
          item.caption = read_file(file, longest_caption_file);
        } catch (const DataError& failure) {
          item.problem = "its caption cannot be read: " + failure.message();
        }
        return;
      }
    }
  }

  ImageFolderSource source_;
  fs::path root_;
  PathList pictures_;
  std::vector<std::pair<std::string, std::string>> problems_;  // name, why
  std::vector<Metadata> metadata_;
  std::vector<RowPlace> rows_;  // by picture; empty without metadata
  bool metadata_read_ = false;
  Digest identity_;
  std::uint64_t next_ = 0;
};

}  // namespace

std::unique_ptr<CaptionedSource> open_image_folder(const ImageFolderSource& source) {
  return std::make_unique<ImageFolder>(source);
}

}  // namespace soup
