// The HDF5 half of writing a shard: datasets with a place in the file but no content yet, and attributes.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "data/hdf5_handle.hpp"
#include "data/shard_content.hpp"
#include "data/shard_seal.hpp"

namespace soup {

// Every failure is a DataError that names `reported`.
class ShardLayout {
 public:
  ShardLayout(const std::filesystem::path& partial, std::filesystem::path reported, std::uint64_t seal_bytes);

  void group(const std::string& name);
  // A contiguous dataset and where its bytes go; nowhere when it is empty.
  ByteRange dataset(const std::string& name, hid_t type, std::span<const hsize_t> shape);
  [[nodiscard]] hid_t float_type(FloatType type) const;
  // Attributes of the root, or of the dataset `name`.
  void attribute(const char* key, const std::string& value, const std::string& name = "/");
  void attribute(const char* key, std::int64_t value, const std::string& name = "/");
  void close();

 private:
  template <typename Result>
  Result check(Result result, const std::string& what) const {
    return hdf5_check(result, reported_, "cannot write: " + what, "is the disk full?");
  }

  std::filesystem::path reported_;
  Hdf5File file_;
  Hdf5Type string_;
  Hdf5Type half_;
  Hdf5Properties dataset_creation_;
  Hdf5Properties group_creation_;
};

// IEEE 754 binary16, which HDF5 1.10 has no name for.
Hdf5Type hdf5_half_type();

}  // namespace soup
