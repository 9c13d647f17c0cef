// The JSON header of a safetensors file: parsed strictly from hostile input, and written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/file_descriptor.hpp"
#include "core/safetensors.hpp"

namespace soup {

inline constexpr std::uint64_t max_safetensors_header_bytes = 100'000'000;  // the limit of the reference implementation

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // in order of offset
  std::map<std::string, std::string> metadata;
};

// Checks all that the header of a file with `data_bytes` bytes behind it can be checked for; throws DataError with
// `path`.
SafetensorsHeader parse_safetensors_header(std::string_view json_text, std::uint64_t data_bytes,
                                           const std::filesystem::path& path);

// The header of an open file.
struct SafetensorsFileHeader {
  SafetensorsHeader header;
  std::uint64_t data_begin = 0;  // where the data section begins
  std::uint64_t file_bytes = 0;  // of the whole file
};
// Reads and checks it; throws DataError with `path`.
SafetensorsFileHeader read_safetensors_header(const FileDescriptor& file, const std::filesystem::path& path);

// The header's text for tensors that follow each other in this order, padded with spaces so that it and the eight bytes
// before it end on a multiple of eight.
std::string format_safetensors_header(std::span<const TensorInfo> tensors,
                                      const std::map<std::string, std::string>& metadata);

// Bytes of a tensor of this shape; false in `valid` when an extent is negative or the product passes 2^63.
struct ByteCount {
  std::uint64_t bytes = 0;
  bool valid = false;
};
[[nodiscard]] ByteCount byte_count(std::span<const std::int64_t> shape, DType dtype);

}  // namespace soup
