// The HDF5 half of reading a shard: where its datasets lie, and its attributes. Everything that is not as the format
// has it is a DataError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/hdf5_handle.hpp"
#include "data/shard_content.hpp"
#include "data/shard_seal.hpp"

namespace soup {

// A contiguous dataset: its shape and where its bytes lie.
struct DatasetPlace {
  std::vector<std::uint64_t> shape;
  ByteRange range;  // inside the file; {0, 0} without elements
  [[nodiscard]] std::string shape_text() const;
};

class ShardReading {
 public:
  ShardReading(const std::filesystem::path& path, std::uint64_t file_bytes);

  [[nodiscard]] bool has(const std::string& name) const;
  // Throws unless it is there with this type of element and so many dimensions.
  [[nodiscard]] DatasetPlace dataset(const std::string& name, hid_t type, std::size_t rank) const;
  // The same, and which type of number it holds.
  [[nodiscard]] DatasetPlace floats(const std::string& name, std::size_t rank, FloatType& type) const;
  // Where a dataset of just this shape lies.
  [[nodiscard]] ByteRange place_of(const std::string& name, hid_t type, const std::vector<std::uint64_t>& shape) const;
  [[nodiscard]] std::string text_attribute(const char* key, const std::string& name = "/") const;
  [[nodiscard]] std::int64_t whole_attribute(const char* key, const std::string& name = "/") const;
  // An attribute of 64 lower-case hex digits.
  [[nodiscard]] Digest digest_attribute(const char* key, const std::string& name = "/") const;

 private:
  [[nodiscard]] Hdf5Attribute attribute(const char* key, const std::string& name) const;

  std::filesystem::path path_;
  std::uint64_t file_bytes_;
  Hdf5File file_;
  Hdf5Type half_;
};

}  // namespace soup
