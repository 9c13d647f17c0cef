#include "data/shard_layout.hpp"

#include <bit>

namespace soup {
namespace {

constexpr hsize_t alignment = 64;  // bytes: numbers of any type can be read where they lie

static_assert(std::endian::native == std::endian::little, "shard files are written as they lie in memory");

}  // namespace

Hdf5Type hdf5_half_type() {
  Hdf5Type type(H5Tcopy(H5T_IEEE_F32LE));
  // Sign at bit 15, 5 bits of exponent from 10, 10 of mantissa from 0; bias 15.
  if (type.get() < 0 || H5Tset_fields(type.get(), 15, 10, 5, 0, 10) < 0 || H5Tset_size(type.get(), 2) < 0 ||
      H5Tset_ebias(type.get(), 15) < 0) {
    throw InvariantError("HDF5 cannot describe 16-bit floats: " + hdf5_error_text());
  }
  return type;
}

ShardLayout::ShardLayout(const std::filesystem::path& partial, std::filesystem::path reported, std::uint64_t seal_bytes)
    : reported_(std::move(reported)), half_(hdf5_half_type()) {
  Hdf5Properties creation(check(H5Pcreate(H5P_FILE_CREATE), "cannot prepare"));
  check(H5Pset_userblock(creation.get(), seal_bytes), "cannot prepare");
  Hdf5Properties access(check(H5Pcreate(H5P_FILE_ACCESS), "cannot prepare"));
  // Small datasets would share blocks of which only the first byte is aligned.
  check(H5Pset_alignment(access.get(), 1, alignment), "cannot prepare");
  check(H5Pset_small_data_block_size(access.get(), 0), "cannot prepare");
  file_ = Hdf5File(
      check(H5Fcreate(partial.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), "cannot create the file"));
  string_ = Hdf5Type(check(H5Tcopy(H5T_C_S1), "cannot prepare"));
  check(H5Tset_size(string_.get(), H5T_VARIABLE), "cannot prepare");
  check(H5Tset_cset(string_.get(), H5T_CSET_UTF8), "cannot prepare");
  // Contiguous, with a place at once and no filling: the bytes are written past HDF5. Without time stamps: equal input,
  // equal bytes.
  dataset_creation_ = Hdf5Properties(check(H5Pcreate(H5P_DATASET_CREATE), "cannot prepare"));
  check(H5Pset_layout(dataset_creation_.get(), H5D_CONTIGUOUS), "cannot prepare");
  check(H5Pset_alloc_time(dataset_creation_.get(), H5D_ALLOC_TIME_EARLY), "cannot prepare");
  check(H5Pset_fill_time(dataset_creation_.get(), H5D_FILL_TIME_NEVER), "cannot prepare");
  check(H5Pset_obj_track_times(dataset_creation_.get(), false), "cannot prepare");
  group_creation_ = Hdf5Properties(check(H5Pcreate(H5P_GROUP_CREATE), "cannot prepare"));
  check(H5Pset_obj_track_times(group_creation_.get(), false), "cannot prepare");
}

void ShardLayout::group(const std::string& name) {
  const Hdf5Group made(
      check(H5Gcreate2(file_.get(), name.c_str(), H5P_DEFAULT, group_creation_.get(), H5P_DEFAULT), name));
}

ByteRange ShardLayout::dataset(const std::string& name, hid_t type, std::span<const hsize_t> shape) {
  const Hdf5Space space(check(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), name));
  const Hdf5Dataset made(
      check(H5Dcreate2(file_.get(), name.c_str(), type, space.get(), H5P_DEFAULT, dataset_creation_.get(), H5P_DEFAULT),
            name));
  std::uint64_t bytes = H5Tget_size(type);
  for (const hsize_t extent : shape) {
    bytes *= extent;
  }
  if (bytes == 0) {
    return {};
  }
  const haddr_t offset = H5Dget_offset(made.get());
  SOUP_REQUIRE(offset != HADDR_UNDEF && offset % alignment == 0, "a contiguous dataset has an aligned address at once");
  return {offset, bytes};
}

hid_t ShardLayout::float_type(FloatType type) const {
  return type == FloatType::f16 ? half_.get() : H5T_IEEE_F32LE;
}

void ShardLayout::attribute(const char* key, const std::string& value, const std::string& name) {
  const Hdf5Space space(check(H5Screate(H5S_SCALAR), key));
  const Hdf5Attribute out(check(H5Acreate_by_name(file_.get(), name.c_str(), key, string_.get(), space.get(),
                                                  H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                                key));
  const char* pointer = value.c_str();
  check(H5Awrite(out.get(), string_.get(), &pointer), key);
}

void ShardLayout::attribute(const char* key, std::int64_t value, const std::string& name) {
  const Hdf5Space space(check(H5Screate(H5S_SCALAR), key));
  const Hdf5Attribute out(check(H5Acreate_by_name(file_.get(), name.c_str(), key, H5T_STD_I64LE, space.get(),
                                                  H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                                key));
  check(H5Awrite(out.get(), H5T_NATIVE_INT64, &value), key);
}

void ShardLayout::close() {
  check(file_.close(), "the layout");
}

}  // namespace soup
