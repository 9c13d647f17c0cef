// A safetensors file written piece by piece, in any order and bounded memory, its metadata last.
#include "merge/safetensors_stream.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "core/error.hpp"
#include "core/safetensors_header.hpp"

namespace soup {

namespace {

constexpr std::uint64_t length_bytes = 8;  // the header's length stands before it

// Makes the file `bytes` long, with room on the disk for all of them; returns an errno value. In memory (tmpfs) there
// is no layout to gain, and one thread would touch all pages before the others may begin: there the free space is
// compared.
int take_space(int file, std::uint64_t bytes) {
  struct statfs system {};
  const bool in_memory = ::fstatfs(file, &system) == 0 && system.f_type == TMPFS_MAGIC;
  if (in_memory) {
    const bool limited = system.f_blocks > 0;
    if (limited && system.f_bavail * static_cast<std::uint64_t>(system.f_bsize) < bytes) {
      return ENOSPC;
    }
  } else if (const int error = ::posix_fallocate(file, 0, static_cast<off_t>(bytes));
             error != EOPNOTSUPP && error != EINVAL) {  // other than: a file system without preallocation
    return error;
  }
  return ::ftruncate(file, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

}  // namespace

SafetensorsStream::SafetensorsStream(const std::filesystem::path& path, const std::vector<TensorForm>& tensors,
                                     std::size_t metadata_bytes)
    : path_(path), file_(path, O_RDWR | O_CREAT | O_TRUNC) {
  std::uint64_t offset = 0;
  for (const TensorForm& tensor : tensors) {
    const ByteCount count = byte_count(tensor.shape, tensor.dtype);
    SOUP_REQUIRE(count.valid, "tensor " + tensor.name + " has no valid size");
    tensors_.push_back({tensor.name, tensor.dtype, tensor.shape, offset, offset + count.bytes});
    offset += count.bytes;
  }
  header_bytes_ = format_safetensors_header(tensors_, {}).size() + (metadata_bytes + 7) / 8 * 8;
  const std::uint64_t total = length_bytes + header_bytes_ + offset;
  if (const int error = take_space(file_.get(), total); error != 0) {
    throw DataError(path_, fmt::format("cannot take {} bytes of disk: {}", total, errno_text(error)),
                    errno_hint(error));
  }
  set_metadata({});
}

void SafetensorsStream::write(std::size_t tensor, std::uint64_t offset, std::span<const std::byte> bytes) {
  const TensorInfo& info = tensors_.at(tensor);
  SOUP_REQUIRE(offset + bytes.size() <= info.end - info.begin,
               fmt::format("bytes {} to {} of tensor {}, which has {}", offset, offset + bytes.size(), info.name,
                           info.end - info.begin));
  write_at(length_bytes + header_bytes_ + info.begin + offset, bytes);
}

void SafetensorsStream::set_metadata(const std::map<std::string, std::string>& metadata) {
  std::string header = format_safetensors_header(tensors_, metadata);
  SOUP_REQUIRE(header.size() <= header_bytes_,
               fmt::format("a header of {} bytes where {} are kept", header.size(), header_bytes_));
  header.resize(header_bytes_, ' ');
  write_at(0, std::as_bytes(std::span(&header_bytes_, 1)));
  write_at(length_bytes, std::as_bytes(std::span(header)));
}

void SafetensorsStream::write_at(std::uint64_t position, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      const int error = errno;
      throw DataError(path_, "cannot write: " + errno_text(error), errno_hint(error));
    }
    position += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

}  // namespace soup
