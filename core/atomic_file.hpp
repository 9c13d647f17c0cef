// Files and folders that appear under their final name only when complete: written beside, flushed, renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "core/file_descriptor.hpp"

namespace soup {

// Writes `final_path` + ".partial-<host>-<pid>" and renames it on commit(). Without commit() the partial file is
// removed. Every member throws DataError (disk full, read-only folder, ...), naming the final path.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path final_path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // fsync, rename, fsync of the folder.
  void commit();

 private:
  std::filesystem::path final_path_;
  std::filesystem::path partial_path_;
  FileDescriptor file_;
  bool committed_ = false;
};

// Whether a commit waits until all bytes are on the disk. Without it a power cut soon after can leave a file that is
// torn under its final name; a crash of the program cannot.
enum class Sync { yes, no };

// For writers that want a path (HDF5, libvips): gives a partial path that keeps the final one's extension, because
// libvips chooses the format by it. commit() flushes and renames.
class AtomicPath {
 public:
  explicit AtomicPath(std::filesystem::path final_path);
  ~AtomicPath();
  AtomicPath(const AtomicPath&) = delete;
  AtomicPath& operator=(const AtomicPath&) = delete;

  [[nodiscard]] const std::filesystem::path& partial() const { return partial_path_; }
  void commit(Sync sync = Sync::yes);

 private:
  std::filesystem::path final_path_;
  std::filesystem::path partial_path_;
  bool committed_ = false;
};

// Flushes a finished file and gives it its final name, on the same file system. Throws DataError naming that name.
void commit_file(const std::filesystem::path& partial, const std::filesystem::path& final_path);

// A folder written beside its final name (missing parents are made). commit() flushes every file in it, and exchanges
// it with an older folder of that name, which is then removed.
class AtomicFolder {
 public:
  explicit AtomicFolder(const std::filesystem::path& final_path);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& partial() const { return partial_path_; }
  void commit(Sync sync = Sync::yes);

 private:
  std::filesystem::path final_path_;
  std::filesystem::path partial_path_;
  bool committed_ = false;
};

// Removes what a killed process left half-written of `folder`: folders beside it, and files anywhere in it, that still
// have their partial name. Only for who alone writes there. Throws DataError.
void remove_partials(const std::filesystem::path& folder);
// Those directly in `folder` whose process, of this host, is no more: where other processes may be writing files of
// their own. Throws DataError where one cannot be removed.
void remove_partials_of_the_dead(const std::filesystem::path& folder);

// For long work, before it: throws DataError where a file could not get this name, because its folder is missing or a
// folder has the name.
void require_place_for(const std::filesystem::path& file);
void write_file_atomically(const std::filesystem::path& path, std::string_view content);
// Whole file as text; throws DataError if it cannot be read or is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uintmax_t max_bytes = 1ULL << 30);

}  // namespace soup
