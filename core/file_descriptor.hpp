// An open POSIX file that closes itself, and the calls on it with every return code checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

namespace soup {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  // Takes over an open descriptor.
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  // Opens with O_CLOEXEC added; throws DataError naming `reported_path`.
  FileDescriptor(const std::filesystem::path& path, int flags, const std::filesystem::path& reported_path);
  FileDescriptor(const std::filesystem::path& path, int flags) : FileDescriptor(path, flags, path) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }

  // The members below throw DataError naming `reported_path`.
  void write_all(std::span<const std::byte> bytes, const std::filesystem::path& reported_path) const;
  // Bytes written by a single write call, for records that must not be interleaved.
  std::size_t write_once(std::span<const std::byte> bytes, const std::filesystem::path& reported_path) const;
  // Bytes read, 0 at the end of the file.
  std::size_t read_some(std::span<std::byte> buffer, const std::filesystem::path& reported_path) const;
  // Fills `out` with the bytes from `offset` on. A file that ends before is a DataError.
  void read_at(std::uint64_t offset, std::span<std::byte> out, const std::filesystem::path& reported_path) const;
  // Writes all of `bytes` from `offset` on.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes,
                const std::filesystem::path& reported_path) const;
  [[nodiscard]] std::uint64_t size(const std::filesystem::path& reported_path) const;
  void sync(const std::filesystem::path& reported_path) const;
  // Closing can be the first moment a network file system reports a full disk, so it is checked here.
  void close(const std::filesystem::path& reported_path);

 private:
  int descriptor_ = -1;
};

// The system's words for an errno value ("No space left on device").
std::string errno_text(int error);
// A hint for the errno values people meet (full disk, no permission, missing folder), else "".
std::string errno_hint(int error);

}  // namespace soup
