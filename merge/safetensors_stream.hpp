// A safetensors file written piece by piece, in any order and bounded memory, its metadata last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/file_descriptor.hpp"
#include "core/safetensors.hpp"

namespace soup {

struct TensorForm {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
};

// Not atomic by itself: callers give a path inside an AtomicFolder or of an AtomicPath. The disk space is taken at
// once, so that a full disk is found before the work. All members throw DataError naming the path.
class SafetensorsStream {
 public:
  // `metadata_bytes`: room kept in the header for the metadata.
  SafetensorsStream(const std::filesystem::path& path, const std::vector<TensorForm>& tensors,
                    std::size_t metadata_bytes);

  // Bytes of tensor number `tensor` from `offset` on. Calls for different bytes may come from different threads.
  void write(std::size_t tensor, std::uint64_t offset, std::span<const std::byte> bytes);
  // Writes the header; until set_metadata the file has none in it. May be called again.
  void set_metadata(const std::map<std::string, std::string>& metadata);

 private:
  void write_at(std::uint64_t position, std::span<const std::byte> bytes) const;

  std::filesystem::path path_;
  FileDescriptor file_;
  std::vector<TensorInfo> tensors_;
  std::uint64_t header_bytes_ = 0;
};

}  // namespace soup
