// Tensors in an HDF5 file.
#include "merge/hdf5_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/safetensors_header.hpp"
#include "core/text.hpp"
#include "data/hdf5_handle.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// The library keeps global state and Debian's is not built for threads: one caller at a time in the whole process.
std::recursive_mutex& hdf5_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

struct Kind {
  DType dtype;
  H5T_class_t type_class;
  std::size_t bytes;
  bool is_signed;
};

std::optional<DType> dtype_of(hid_t type) {
  static constexpr Kind kinds[] = {
      {DType::f64, H5T_FLOAT, 8, true},    {DType::f32, H5T_FLOAT, 4, true},    {DType::f16, H5T_FLOAT, 2, true},
      {DType::i64, H5T_INTEGER, 8, true},  {DType::i32, H5T_INTEGER, 4, true},  {DType::i16, H5T_INTEGER, 2, true},
      {DType::i8, H5T_INTEGER, 1, true},   {DType::u64, H5T_INTEGER, 8, false}, {DType::u32, H5T_INTEGER, 4, false},
      {DType::u16, H5T_INTEGER, 2, false}, {DType::u8, H5T_INTEGER, 1, false}};
  const H5T_class_t type_class = H5Tget_class(type);
  const std::size_t bytes = H5Tget_size(type);
  const bool is_signed = type_class != H5T_INTEGER || H5Tget_sign(type) != H5T_SGN_NONE;
  for (const Kind& kind : kinds) {
    if (kind.type_class == type_class && kind.bytes == bytes && kind.is_signed == is_signed) {
      return kind.dtype;
    }
  }
  return std::nullopt;
}

// A 16-bit float is IEEE's only with this split of its bits.
bool is_ieee_half(hid_t type) {
  std::size_t sign = 0;
  std::size_t exponent = 0;
  std::size_t exponent_bits = 0;
  std::size_t mantissa = 0;
  std::size_t mantissa_bits = 0;
  return H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) >= 0 && sign == 15 &&
         exponent_bits == 5 && mantissa_bits == 10;
}

// The type of the elements as soup wants them in memory.
Hdf5Type memory_type(const fs::path& path, DType dtype, hid_t file_type) {
  const auto standard = [dtype]() -> hid_t {
    switch (dtype) {
      case DType::f64:
        return H5T_IEEE_F64LE;
      case DType::f32:
        return H5T_IEEE_F32LE;
      case DType::i64:
        return H5T_STD_I64LE;
      case DType::i32:
        return H5T_STD_I32LE;
      case DType::i16:
        return H5T_STD_I16LE;
      case DType::i8:
        return H5T_STD_I8LE;
      case DType::u64:
        return H5T_STD_U64LE;
      case DType::u32:
        return H5T_STD_U32LE;
      case DType::u16:
        return H5T_STD_U16LE;
      case DType::u8:
        return H5T_STD_U8LE;
      default:
        return H5I_INVALID_HID;  // F16, for which this version of the library has no name
    }
  }();
  Hdf5Type type(hdf5_check(H5Tcopy(standard >= 0 ? standard : file_type), path, "cannot copy a data type"));
  hdf5_check(H5Tset_order(type.get(), H5T_ORDER_LE), path, "cannot set a byte order");
  return type;
}

struct Dataset {
  Hdf5Dataset dataset;
  Hdf5Type type;                     // in memory
  std::vector<std::uint64_t> shape;  // at least one extent: a scalar has {1}
  bool scalar = false;
  std::optional<std::uint64_t> flat;  // byte in the file where the elements lie as they are in memory
};

class Hdf5Store final : public WeightStore {
 public:
  explicit Hdf5Store(const fs::path& path) : path_(path), raw_(path, O_RDONLY) {
    const Hdf5Quiet quiet;
    file_ = Hdf5File(hdf5_check(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), path, "cannot open as HDF5",
                                "the file is cut short or is not HDF5"));
  }
  ~Hdf5Store() override {
    const std::scoped_lock lock(hdf5_mutex());
    datasets_.clear();
    file_ = Hdf5File();
  }
  Hdf5Store(const Hdf5Store&) = delete;
  Hdf5Store& operator=(const Hdf5Store&) = delete;

  std::vector<WeightTensor> find_tensors() {
    const Hdf5Quiet quiet;
    std::vector<std::string> names = dataset_names();
    std::ranges::sort(names);
    std::vector<WeightTensor> tensors;
    for (const std::string& name : names) {
      tensors.push_back(add(name));
    }
    if (tensors.empty()) {
      throw DataError(path_, "holds no dataset", "each tensor is a dataset; its path is the tensor's name");
    }
    return tensors;
  }

  void read(std::size_t tensor, std::uint64_t offset, std::span<std::byte> out) const override {
    const Dataset& from = datasets_.at(tensor);
    if (out.empty()) {  // of a scalar the library would write one element even so
      return;
    }
    if (from.flat) {
      raw_.read_at(*from.flat + offset, out, path_);
      return;
    }
    const std::scoped_lock lock(hdf5_mutex());
    const Hdf5Quiet quiet;
    const std::size_t size = H5Tget_size(from.type.get());
    read_elements(from, offset / size, out.size() / size, out);
  }

  void will_read(std::size_t tensor, std::uint64_t offset, std::uint64_t bytes) const override {
    const Dataset& from = datasets_.at(tensor);
    if (from.flat) {
      static_cast<void>(::posix_fadvise(raw_.get(), static_cast<off_t>(*from.flat + offset), static_cast<off_t>(bytes),
                                        POSIX_FADV_WILLNEED));
    }
  }

 private:
  // Every name a dataset has: what shares its elements with another must not be missing. Throws DataError for what
  // would be skipped, or would lead out of the file.
  [[nodiscard]] std::vector<std::string> dataset_names() const {
    struct Found {
      std::vector<std::string> datasets;
      std::string link;   // soft or external
      std::string group;  // with several names, of which only one is visited
    } found;
    const auto visit = [](hid_t file, const char* name, const H5L_info_t* link, void* out) -> herr_t {
      auto& into = *static_cast<Found*>(out);
      if (link->type != H5L_TYPE_HARD) {
        into.link = name;
        return 0;
      }
      H5O_info_t object;
      if (H5Oget_info_by_name2(file, name, &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0) {
        return -1;
      }
      if (object.type == H5O_TYPE_DATASET) {
        into.datasets.emplace_back(name);
      } else if (object.type == H5O_TYPE_GROUP && object.rc > 1) {
        into.group = name;
      }
      return 0;
    };
    hdf5_check(H5Lvisit(file_.get(), H5_INDEX_NAME, H5_ITER_INC, visit, &found), path_, "cannot list its datasets");
    for (const std::string& name : found.datasets) {
      check_name(name);
    }
    if (!found.link.empty() || !found.group.empty()) {
      const bool link = !found.link.empty();
      throw DataError(path_,
                      fmt::format("{} is {}", excerpt(link ? found.link : found.group),
                                  link ? "a link to another place or file" : "a group with several names"),
                      "write each tensor into the file under its own name");
    }
    return std::move(found.datasets);
  }

  // It becomes a tensor's name in safetensors files.
  void check_name(const std::string& name) const {
    if (!is_utf8(name)) {
      throw DataError(path_, "a dataset's name is not UTF-8");
    }
    if (name == "__metadata__") {
      throw DataError(path_, "dataset __metadata__ has the name that safetensors keeps for metadata");
    }
  }

  WeightTensor add(const std::string& name) {
    Dataset entry;
    entry.dataset = Hdf5Dataset(
        hdf5_check(H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), path_, "cannot open dataset " + excerpt(name)));
    const Hdf5Type type(
        hdf5_check(H5Dget_type(entry.dataset.get()), path_, "cannot read the type of " + excerpt(name)));
    if (lies_elsewhere(entry.dataset.get())) {
      throw DataError(path_, fmt::format("dataset {} keeps its elements in another file", excerpt(name)),
                      "copy its elements into this file");
    }
    const std::optional<DType> dtype = dtype_of(type.get());
    if (!dtype || (*dtype == DType::f16 && !is_ieee_half(type.get()))) {
      throw DataError(path_, fmt::format("dataset {} holds no numbers that soup knows", excerpt(name)),
                      "weights are floats of 64, 32 or 16 bits (IEEE 754) or integers");
    }
    const Hdf5Space space(
        hdf5_check(H5Dget_space(entry.dataset.get()), path_, "cannot read the shape of " + excerpt(name)));
    const H5S_class_t kind = H5Sget_simple_extent_type(space.get());
    if (kind == H5S_NULL) {
      throw DataError(path_, fmt::format("dataset {} is empty (a null dataspace)", excerpt(name)));
    }
    const int rank =
        hdf5_check(H5Sget_simple_extent_ndims(space.get()), path_, "cannot read the rank of " + excerpt(name));
    std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
    hdf5_check(H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr), path_, "cannot read the shape");
    WeightTensor tensor{name, *dtype, {extents.begin(), extents.end()}, 0, 0};
    const ByteCount count = byte_count(tensor.shape, *dtype);
    if (!count.valid) {
      throw DataError(path_, fmt::format("dataset {} has an absurd shape", excerpt(name)));
    }
    tensor.elements = count.bytes / size_of(*dtype);
    entry.type = memory_type(path_, *dtype, type.get());
    entry.scalar = rank == 0;
    entry.shape.assign(extents.begin(), extents.end());
    entry.flat = flat_offset(entry.dataset.get(), type.get(), entry.type.get(), count.bytes);
    datasets_.push_back(std::move(entry));
    return tensor;
  }

  [[nodiscard]] bool lies_elsewhere(hid_t dataset) const {
    const Hdf5Properties properties(
        hdf5_check(H5Dget_create_plist(dataset), path_, "cannot read the layout of a dataset"));
    return H5Pget_layout(properties.get()) == H5D_VIRTUAL || H5Pget_external_count(properties.get()) != 0;
  }

  // Where the elements lie in the file just as read() gives them; nullopt when only the library can tell.
  [[nodiscard]] std::optional<std::uint64_t> flat_offset(hid_t dataset, hid_t file_type, hid_t type,
                                                         std::uint64_t bytes) const {
    const Hdf5Properties properties(
        hdf5_check(H5Dget_create_plist(dataset), path_, "cannot read the layout of a dataset"));
    if (H5Pget_layout(properties.get()) != H5D_CONTIGUOUS || H5Tequal(file_type, type) <= 0 ||
        H5Dget_storage_size(dataset) != bytes) {
      return std::nullopt;
    }
    const haddr_t offset = H5Dget_offset(dataset);
    // A user block shifts addresses; the library's own reading then is the safe way.
    if (offset == HADDR_UNDEF || offset > raw_.size(path_) || raw_.size(path_) - offset < bytes) {
      return std::nullopt;
    }
    const Hdf5Properties creation(hdf5_check(H5Fget_create_plist(file_.get()), path_, "cannot read its properties"));
    hsize_t user_block = 0;
    return H5Pget_userblock(creation.get(), &user_block) >= 0 && user_block == 0 ? std::optional(offset) : std::nullopt;
  }

  // Elements [first, first + count) in row-major order, as the fewest boxes: a range of rows is one box, and what is
  // left at both ends is cut the same way one dimension further in.
  void read_elements(const Dataset& from, std::uint64_t first, std::uint64_t count, std::span<std::byte> out) const {
    if (from.scalar) {
      hdf5_check(H5Dread(from.dataset.get(), from.type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data()), path_,
                 "cannot read a dataset");
      return;
    }
    std::vector<hsize_t> start(from.shape.size(), 0);
    read_box(from, 0, start, first, count, out);
  }

  void read_box(const Dataset& from, std::size_t axis, std::vector<hsize_t>& start, std::uint64_t first,
                std::uint64_t count, std::span<std::byte> out) const {
    const std::size_t size = H5Tget_size(from.type.get());
    std::uint64_t row = 1;  // elements per step along `axis`
    for (std::size_t i = axis + 1; i < from.shape.size(); ++i) {
      row *= from.shape[i];
    }
    while (count > 0) {
      const std::uint64_t inside = first % row;
      start[axis] = first / row;
      std::uint64_t taken = 0;
      if (inside == 0 && count >= row) {
        const std::uint64_t rows = count / row;
        taken = rows * row;
        std::vector<hsize_t> extent(from.shape.size(), 1);
        extent[axis] = rows;
        std::copy(from.shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1, from.shape.end(),
                  extent.begin() + static_cast<std::ptrdiff_t>(axis) + 1);
        read_whole_box(from, start, extent, out.first(taken * size));
      } else {
        taken = std::min(count, row - inside);
        read_box(from, axis + 1, start, inside, taken, out.first(taken * size));
        std::fill(start.begin() + static_cast<std::ptrdiff_t>(axis) + 1, start.end(), 0);
      }
      first += taken;
      count -= taken;
      out = out.subspan(taken * size);
    }
  }

  void read_whole_box(const Dataset& from, const std::vector<hsize_t>& start, const std::vector<hsize_t>& extent,
                      std::span<std::byte> out) const {
    const Hdf5Space space(hdf5_check(H5Dget_space(from.dataset.get()), path_, "cannot read a shape"));
    hdf5_check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr), path_,
               "cannot select a part of a dataset");
    const Hdf5Space memory(hdf5_check(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), path_,
                                      "cannot describe memory"));
    hdf5_check(H5Dread(from.dataset.get(), from.type.get(), memory.get(), space.get(), H5P_DEFAULT, out.data()), path_,
               "cannot read a dataset", "the file is damaged, or needs a filter that this HDF5 library lacks");
  }

  fs::path path_;
  FileDescriptor raw_;  // for datasets that lie flat
  Hdf5File file_;
  std::vector<Dataset> datasets_;
};

}  // namespace

OpenedWeights open_hdf5(const fs::path& path) {
  const std::scoped_lock lock(hdf5_mutex());
  auto store = std::make_unique<Hdf5Store>(path);
  OpenedWeights opened;
  opened.tensors = store->find_tensors();
  opened.store = std::move(store);
  return opened;
}

}  // namespace soup
