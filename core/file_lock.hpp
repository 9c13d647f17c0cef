// A file that one process at a time holds, on whichever host of a shared file system; the kernel frees it when that
// process ends, however it ends.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/file_descriptor.hpp"

namespace soup {

class FileLock {
 public:
  // Takes the lock and writes `text` (who holds it, for people and lock_holder) into the file, which is made where it
  // is missing. nullopt while another process holds it: lock_holder() says who. Throws DataError where the file cannot
  // be made. A file system without locks gives a lock that keeps no one out: is_kept() is false then.
  //
  // fcntl's locks: NFS and Lustre carry them between hosts, and children do not inherit them. They belong to the
  // process, so a second lock of one path in one process is not refused,
  // and a process that opens and closes the file by other means gives its lock back.
  static std::optional<FileLock> try_take(const std::filesystem::path& path, std::string_view text);
  // Empties the file, which stays, and frees the lock.
  ~FileLock();
  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&&) noexcept = default;

  [[nodiscard]] bool is_kept() const { return is_kept_; }
  // What the holder before wrote, where it ended without giving the lock back; else "".
  [[nodiscard]] const std::string& abandoned() const { return abandoned_; }

 private:
  explicit FileLock(FileDescriptor file) : file_(std::move(file)) {}

  FileDescriptor file_;
  bool is_taken_ = false;
  bool is_kept_ = true;
  std::string abandoned_;
};

// The text of the other process that holds this lock now; nullopt where none does, and for this process's own.
std::optional<std::string> lock_holder(const std::filesystem::path& path);

}  // namespace soup
