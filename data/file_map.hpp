// A read-only map of a whole file.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <span>
#include <utility>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {

class FileMap {
 public:
  FileMap() = default;
  FileMap(const std::filesystem::path& path, std::size_t bytes) : bytes_(bytes) {
    const FileDescriptor file(path, O_RDONLY);
    void* address = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.get(), 0);
    if (address == MAP_FAILED) {
      throw DataError(path, "cannot map the file: " + errno_text(errno));
    }
    address_ = static_cast<const std::uint8_t*>(address);
  }
  ~FileMap() {
    if (address_ != nullptr) {
      munmap(const_cast<std::uint8_t*>(address_), bytes_);
    }
  }
  FileMap(FileMap&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  FileMap& operator=(FileMap&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {address_, bytes_}; }

 private:
  const std::uint8_t* address_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace soup
