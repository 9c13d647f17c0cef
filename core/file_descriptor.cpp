#include "core/file_descriptor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.hpp"

namespace soup {

namespace {

constexpr mode_t new_file_mode = 0666;  // less the user's umask

[[noreturn]] void fail(const std::filesystem::path& path, const char* action) {
  const int error = errno;
  throw DataError(path, std::string("cannot ") + action + ": " + errno_text(error), errno_hint(error));
}

}  // namespace

std::string errno_text(int error) {
  return std::generic_category().message(error);
}

std::string errno_hint(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "the disk or quota is full; free some space and give the same command again";
    case EFBIG:
      return "the file size limit is reached; see `ulimit -f`";
    case EACCES:
    case EPERM:
    case EROFS:
      return "the user running soup may not do this here; choose another folder or change its permissions";
    case ENOENT:
    case ENOTDIR:
      return "check the path; every folder on it must exist";
    case EMFILE:
    case ENFILE:
      return "too many files are open; see `ulimit -n`";
    default:
      return {};
  }
}

FileDescriptor::FileDescriptor(const std::filesystem::path& path, int flags,
                               const std::filesystem::path& reported_path) {
  do {
    descriptor_ = ::open(path.c_str(), flags | O_CLOEXEC, new_file_mode);
  } while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0) {
    fail(reported_path, (flags & O_ACCMODE) == O_RDONLY ? "open for reading" : "open for writing");
  }
}

FileDescriptor::~FileDescriptor() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

void FileDescriptor::write_all(std::span<const std::byte> bytes, const std::filesystem::path& reported_path) const {
  while (!bytes.empty()) {
    bytes = bytes.subspan(write_once(bytes, reported_path));
  }
}

std::size_t FileDescriptor::write_once(std::span<const std::byte> bytes,
                                       const std::filesystem::path& reported_path) const {
  while (true) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count >= 0) {
      return static_cast<std::size_t>(count);
    }
    if (errno != EINTR) {
      fail(reported_path, "write");
    }
  }
}

std::size_t FileDescriptor::read_some(std::span<std::byte> buffer, const std::filesystem::path& reported_path) const {
  while (true) {
    const ssize_t count = ::read(descriptor_, buffer.data(), buffer.size());
    if (count >= 0) {
      return static_cast<std::size_t>(count);
    }
    if (errno != EINTR) {
      fail(reported_path, "read");
    }
  }
}

void FileDescriptor::read_at(std::uint64_t offset, std::span<std::byte> out,
                             const std::filesystem::path& reported_path) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno != EINTR) {
      fail(reported_path, "read");
    }
    if (count == 0) {
      throw DataError(
          reported_path,
          "ends at byte " + std::to_string(offset) + ", where " + std::to_string(out.size()) + " more were expected",
          "it became shorter while it was read");
    }
    if (count > 0) {
      offset += static_cast<std::uint64_t>(count);
      out = out.subspan(static_cast<std::size_t>(count));
    }
  }
}

void FileDescriptor::write_at(std::uint64_t offset, std::span<const std::byte> bytes,
                              const std::filesystem::path& reported_path) const {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno != EINTR) {
      fail(reported_path, "write");
    }
    if (count > 0) {
      offset += static_cast<std::uint64_t>(count);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
}

std::uint64_t FileDescriptor::size(const std::filesystem::path& reported_path) const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    fail(reported_path, "ask for the size");
  }
  return static_cast<std::uint64_t>(status.st_size);
}

void FileDescriptor::sync(const std::filesystem::path& reported_path) const {
  // Some file systems cannot flush folders and say EINVAL; there is then nothing to flush.
  if (::fsync(descriptor_) != 0 && errno != EINVAL) {
    fail(reported_path, "flush");
  }
}

void FileDescriptor::close(const std::filesystem::path& reported_path) {
  // On Linux the descriptor is gone even when close reports EINTR.
  if (::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR) {
    fail(reported_path, "close");
  }
}

}  // namespace soup
