#include "data/shard_reading.hpp"

#include "data/shard_layout.hpp"

namespace soup {

std::string DatasetPlace::shape_text() const {
  std::string out = "[";
  for (const std::uint64_t extent : shape) {
    out += (out.size() > 1 ? ", " : "") + std::to_string(extent);
  }
  return out + "]";
}

ShardReading::ShardReading(const std::filesystem::path& path, std::uint64_t file_bytes)
    : path_(path), file_bytes_(file_bytes), half_(hdf5_half_type()) {
  Hdf5Properties access(hdf5_check(H5Pcreate(H5P_FILE_ACCESS), path_, "cannot prepare"));
  // A shard never changes once it has its name, and locks fail on many shared file systems.
  hdf5_check(H5Pset_file_locking(access.get(), false, true), path_, "cannot prepare");
  file_ = Hdf5File(hdf5_check(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), path_, "cannot open as HDF5"));
}

bool ShardReading::has(const std::string& name) const {
  // Every group on the way is asked for: HDF5 reports a missing one as a failure.
  for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    if (H5Lexists(file_.get(), name.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) {
      return false;
    }
  }
  return H5Lexists(file_.get(), name.c_str(), H5P_DEFAULT) > 0;
}

DatasetPlace ShardReading::dataset(const std::string& name, hid_t type, std::size_t rank) const {
  if (!has(name)) {
    throw DataError(path_, "has no dataset \"" + name + "\"", "import the shard again");
  }
  const Hdf5Dataset in(hdf5_check(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), path_, name));
  const Hdf5Type actual(hdf5_check(H5Dget_type(in.get()), path_, name));
  if (hdf5_check(H5Tequal(actual.get(), type), path_, name) == 0) {
    throw DataError(path_, "dataset \"" + name + "\" holds another type of element than version 2 has",
                    "import the shard again");
  }
  const Hdf5Space space(hdf5_check(H5Dget_space(in.get()), path_, name));
  const int actual_rank = hdf5_check(H5Sget_simple_extent_ndims(space.get()), path_, name);
  std::vector<hsize_t> extents(static_cast<std::size_t>(actual_rank));
  hdf5_check(H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr), path_, name);
  DatasetPlace place{.shape = {extents.begin(), extents.end()}, .range = {}};
  if (extents.size() != rank) {
    throw DataError(path_, "dataset \"" + name + "\" has shape " + place.shape_text() + "; expected " +
                               std::to_string(rank) + " dimensions");
  }
  // Each extent is checked before the product, which could wrap around.
  std::uint64_t bytes = H5Tget_size(type);
  for (const std::uint64_t extent : place.shape) {
    if (extent == 0) {
      return place;
    }
    if (extent > file_bytes_ / bytes) {
      throw DataError(path_, "dataset \"" + name + "\" has shape " + place.shape_text() + ", but the file holds " +
                                 std::to_string(file_bytes_) + " bytes");
    }
    bytes *= extent;
  }
  const haddr_t offset = H5Dget_offset(in.get());
  if (offset == HADDR_UNDEF || offset > file_bytes_ || bytes > file_bytes_ - offset) {
    throw DataError(path_, "dataset \"" + name + "\" does not lie in one piece inside the file",
                    "import the shard again");
  }
  place.range = {offset, bytes};
  return place;
}

DatasetPlace ShardReading::floats(const std::string& name, std::size_t rank, FloatType& type) const {
  const Hdf5Dataset in(hdf5_check(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), path_, name));
  const Hdf5Type actual(hdf5_check(H5Dget_type(in.get()), path_, name));
  type = H5Tequal(actual.get(), half_.get()) > 0 ? FloatType::f16 : FloatType::f32;
  return dataset(name, type == FloatType::f16 ? half_.get() : H5T_IEEE_F32LE, rank);
}

ByteRange ShardReading::place_of(const std::string& name, hid_t type, const std::vector<std::uint64_t>& shape) const {
  const DatasetPlace place = dataset(name, type, shape.size());
  if (place.shape != shape) {
    throw DataError(path_, "dataset \"" + name + "\" has shape " + place.shape_text() + "; expected " +
                               DatasetPlace{shape, {}}.shape_text() + " to agree with the others");
  }
  return place.range;
}

Hdf5Attribute ShardReading::attribute(const char* key, const std::string& name) const {
  if (H5Aexists_by_name(file_.get(), name.c_str(), key, H5P_DEFAULT) <= 0) {
    throw DataError(path_, std::string("has no attribute \"") + key + "\"" + (name == "/" ? "" : " of " + name),
                    "import the shard again");
  }
  return Hdf5Attribute(
      hdf5_check(H5Aopen_by_name(file_.get(), name.c_str(), key, H5P_DEFAULT, H5P_DEFAULT), path_, key));
}

std::string ShardReading::text_attribute(const char* key, const std::string& name) const {
  const Hdf5Attribute in = attribute(key, name);
  const Hdf5Type type(hdf5_check(H5Aget_type(in.get()), path_, key));
  const Hdf5Space space(hdf5_check(H5Aget_space(in.get()), path_, key));
  if (H5Tis_variable_str(type.get()) <= 0 || H5Sget_simple_extent_npoints(space.get()) != 1) {
    throw DataError(path_, std::string("attribute \"") + key + "\" is not one variable-length string");
  }
  char* pointer = nullptr;
  hdf5_check(H5Aread(in.get(), type.get(), static_cast<void*>(&pointer)), path_, key);
  std::string value = pointer == nullptr ? "" : pointer;
  hdf5_check(H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, static_cast<void*>(&pointer)), path_, key);
  return value;
}

std::int64_t ShardReading::whole_attribute(const char* key, const std::string& name) const {
  const Hdf5Attribute in = attribute(key, name);
  const Hdf5Type type(hdf5_check(H5Aget_type(in.get()), path_, key));
  const Hdf5Space space(hdf5_check(H5Aget_space(in.get()), path_, key));
  if (H5Tget_class(type.get()) != H5T_INTEGER || H5Sget_simple_extent_npoints(space.get()) != 1) {
    throw DataError(path_, std::string("attribute \"") + key + "\" is not one whole number");
  }
  std::int64_t value = 0;
  hdf5_check(H5Aread(in.get(), H5T_NATIVE_INT64, &value), path_, key);
  return value;
}

Digest ShardReading::digest_attribute(const char* key, const std::string& name) const {
  const std::string text = text_attribute(key, name);
  if (text.size() != 64 || text.find_first_not_of("0123456789abcdef") != std::string::npos) {
    throw DataError(path_, std::string("attribute \"") + key + "\" is not that of a shard file: no SHA-256 digest");
  }
  return Digest::from_hex(text);
}

}  // namespace soup
