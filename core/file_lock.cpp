// A lock that ends with its process.
#include "core/file_lock.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "core/error.hpp"

namespace soup {

namespace {

constexpr std::size_t longest_text = 4096;

// The whole file.
struct flock range_of(short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  return range;
}

std::string text_in(const FileDescriptor& file, const std::filesystem::path& path) {
  std::string text(std::min<std::uint64_t>(file.size(path), longest_text), '\0');
  if (!text.empty()) {
    file.read_at(0, std::as_writable_bytes(std::span(text)), path);
  }
  return text;
}

}  // namespace

std::optional<FileLock> FileLock::try_take(const std::filesystem::path& path, std::string_view text) {
  SOUP_REQUIRE(text.size() <= longest_text, "a lock's text of " + std::to_string(text.size()) + " bytes");
  FileLock lock(FileDescriptor(path, O_RDWR | O_CREAT));
  struct flock range = range_of(F_WRLCK);
  if (::fcntl(lock.file_.get(), F_SETLK, &range) != 0) {
    if (errno == EACCES || errno == EAGAIN) {
      return std::nullopt;
    }
    if (errno != ENOLCK && errno != ENOSYS && errno != EOPNOTSUPP && errno != EINVAL) {
      throw DataError(path, "cannot be locked: " + errno_text(errno), errno_hint(errno));
    }
    lock.is_kept_ = false;
  }
  lock.is_taken_ = true;
  lock.abandoned_ = text_in(lock.file_, path);
  if (::ftruncate(lock.file_.get(), 0) != 0) {
    throw DataError(path, "cannot be emptied: " + errno_text(errno), errno_hint(errno));
  }
  lock.file_.write_at(0, std::as_bytes(std::span(text)), path);
  return lock;
}

FileLock::~FileLock() {
  // Where this fails, the next holder takes the text for that of a process that died: worth no error.
  if (file_.is_open() && is_taken_) {
    [[maybe_unused]] const int ignored = ::ftruncate(file_.get(), 0);
  }
}

std::optional<std::string> lock_holder(const std::filesystem::path& path) {
  std::error_code missing;
  if (!std::filesystem::exists(path, missing)) {
    return std::nullopt;
  }
  const FileDescriptor file(path, O_RDONLY);
  struct flock range = range_of(F_WRLCK);
  // Asking for a write lock needs no right to write.
  if (::fcntl(file.get(), F_GETLK, &range) != 0 || range.l_type == F_UNLCK) {
    return std::nullopt;
  }
  return text_in(file, path);
}

}  // namespace soup
