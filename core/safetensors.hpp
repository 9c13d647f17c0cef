// The safetensors file format, without torch: read by memory map with every header field checked, written atomically.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

[[nodiscard]] std::size_t size_of(DType dtype);       // bytes per element
[[nodiscard]] std::string_view name_of(DType dtype);  // "F32", as in the file

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  // bytes from the start of the data section
  std::uint64_t end = 0;
};

// An open file. Throws DataError for anything the format forbids: header over 100 MB, not JSON, duplicate names,
// unknown dtype, offsets that overlap, leave holes or pass the end of the file, shape x dtype != byte length.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  [[nodiscard]] const std::filesystem::path& path() const;
  // In order of file offset.
  [[nodiscard]] std::span<const TensorInfo> tensors() const;
  // nullptr when absent.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const;
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const;
  // Bytes in the map; valid while the file object lives. Not aligned to the element size in general.
  [[nodiscard]] std::span<const std::byte> bytes(const TensorInfo& tensor) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct TensorSource {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

// Writes tensors in the order given (offsets contiguous, header padded with spaces to 8 bytes), atomically. Metadata
// keys are sorted, so equal input gives equal bytes.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace soup
