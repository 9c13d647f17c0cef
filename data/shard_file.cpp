// Reading half of data/shard_file.hpp: records are read into memory, pixels are mapped where HDF5 says they lie.
#include "data/shard_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/text.hpp"
#include "data/hdf5_handle.hpp"
#include "data/shard_seal.hpp"

namespace soup {
namespace {

// A read-only map of a whole file.
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

struct Extents {
  std::vector<hsize_t> values;
  [[nodiscard]] std::string text() const {
    std::string out = "[";
    for (const hsize_t value : values) {
      out += (out.size() > 1 ? ", " : "") + std::to_string(value);
    }
    return out + "]";
  }
};

// Reads datasets and attributes of one open HDF5 file; everything that is not as version 1 has it is a DataError.
class Hdf5Input {
 public:
  explicit Hdf5Input(const std::filesystem::path& path) : path_(path) {
    Hdf5Properties access(hdf5_check(H5Pcreate(H5P_FILE_ACCESS), path_, "cannot prepare"));
    // A shard never changes once it has its name, and locks fail on many shared file systems.
    hdf5_check(H5Pset_file_locking(access.get(), false, true), path_, "cannot prepare");
    file_ = Hdf5File(hdf5_check(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), path_, "cannot open as HDF5"));
  }

  // Throws unless the dataset is there with the wanted class of type, bytes per element and rank.
  Hdf5Dataset dataset(const char* name, H5T_class_t type_class, std::size_t element_bytes, std::size_t rank,
                      Extents* shape) const {
    if (H5Lexists(file_.get(), name, H5P_DEFAULT) <= 0) {
      throw DataError(path_, std::string("has no dataset \"") + name + "\"", "import the shard again");
    }
    Hdf5Dataset out(hdf5_check(H5Dopen2(file_.get(), name, H5P_DEFAULT), path_, name));
    Hdf5Type type(hdf5_check(H5Dget_type(out.get()), path_, name));
    const bool variable_string = type_class == H5T_STRING && H5Tis_variable_str(type.get()) > 0;
    const bool plain = type_class == H5T_INTEGER && H5Tget_size(type.get()) == element_bytes &&
                       H5Tget_sign(type.get()) == H5T_SGN_NONE;
    if (H5Tget_class(type.get()) != type_class || !(variable_string || plain)) {
      throw DataError(path_, std::string("dataset \"") + name + "\" holds another type of element than version 1 has",
                      "import the shard again");
    }
    Hdf5Space space(hdf5_check(H5Dget_space(out.get()), path_, name));
    const int actual_rank = hdf5_check(H5Sget_simple_extent_ndims(space.get()), path_, name);
    shape->values.resize(static_cast<std::size_t>(actual_rank));
    hdf5_check(H5Sget_simple_extent_dims(space.get(), shape->values.data(), nullptr), path_, name);
    if (shape->values.size() != rank) {
      throw DataError(path_, std::string("dataset \"") + name + "\" has shape " + shape->text() + "; expected " +
                                 std::to_string(rank) + " dimensions");
    }
    return out;
  }

  void require_shape(const char* name, const Extents& actual, const Extents& expected) const {
    if (actual.values != expected.values) {
      throw DataError(path_, std::string("dataset \"") + name + "\" has shape " + actual.text() + "; expected " +
                                 expected.text() + " to agree with \"images\"");
    }
  }

  std::vector<std::string> strings(const char* name, std::size_t images) const {
    Extents shape;
    const Hdf5Dataset in = dataset(name, H5T_STRING, 0, 1, &shape);
    require_shape(name, shape, {{images}});
    Hdf5Type type(hdf5_check(H5Dget_type(in.get()), path_, name));
    Hdf5Space space(hdf5_check(H5Dget_space(in.get()), path_, name));
    std::vector<char*> pointers(images, nullptr);
    hdf5_check(H5Dread(in.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()), path_, name);
    std::vector<std::string> values;
    values.reserve(images);
    for (const char* pointer : pointers) {
      values.emplace_back(pointer == nullptr ? "" : pointer);
    }
    hdf5_check(H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, pointers.data()), path_, name);
    for (std::size_t i = 0; i < images; ++i) {
      if (!is_utf8(values[i])) {
        throw DataError(path_, std::string("entry ") + std::to_string(i) + " of \"" + name + "\" is not UTF-8");
      }
    }
    return values;
  }

  std::vector<Digest> digests(const char* name, std::size_t images) const {
    Extents shape;
    const Hdf5Dataset in = dataset(name, H5T_INTEGER, 1, 2, &shape);
    require_shape(name, shape, {{images, sizeof(Digest)}});
    std::vector<Digest> values(images);
    hdf5_check(H5Dread(in.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), path_, name);
    return values;
  }

  std::vector<std::uint64_t> hashes(const char* name, std::size_t images) const {
    Extents shape;
    const Hdf5Dataset in = dataset(name, H5T_INTEGER, 8, 1, &shape);
    require_shape(name, shape, {{images}});
    std::vector<std::uint64_t> values(images);
    hdf5_check(H5Dread(in.get(), H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), path_, name);
    return values;
  }

  std::string text_attribute(const char* name) const {
    if (H5Aexists(file_.get(), name) <= 0) {
      throw DataError(path_, std::string("has no attribute \"") + name + "\"", "import the shard again");
    }
    Hdf5Attribute in(hdf5_check(H5Aopen(file_.get(), name, H5P_DEFAULT), path_, name));
    Hdf5Type type(hdf5_check(H5Aget_type(in.get()), path_, name));
    Hdf5Space space(hdf5_check(H5Aget_space(in.get()), path_, name));
    if (H5Tis_variable_str(type.get()) <= 0 || H5Sget_simple_extent_npoints(space.get()) != 1) {
      throw DataError(path_, std::string("attribute \"") + name + "\" is not one variable-length string");
    }
    char* pointer = nullptr;
    hdf5_check(H5Aread(in.get(), type.get(), static_cast<void*>(&pointer)), path_, name);
    std::string value = pointer == nullptr ? "" : pointer;
    hdf5_check(H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, static_cast<void*>(&pointer)), path_, name);
    return value;
  }

 private:
  std::filesystem::path path_;
  Hdf5File file_;
};

}  // namespace

struct ShardFile::Impl {
  std::filesystem::path path;
  FileMap map;
  std::span<const std::uint8_t> pixels;
  std::size_t images = 0;
  std::size_t image_bytes = 0;
  int height = 0;
  int width = 0;
  int channels = 0;
  std::vector<std::string> captions, keys, styles, sources;
  std::vector<Digest> digests, pixel_digests;
  std::vector<std::uint64_t> perceptual_hashes;
  Digest root;
  ShardOrigin origin;

  void read_images(const Hdf5Input& in, const ShardSeal& seal);
};

void ShardFile::Impl::read_images(const Hdf5Input& in, const ShardSeal& seal) {
  Extents shape;
  const Hdf5Dataset dataset = in.dataset("images", H5T_INTEGER, 1, 4, &shape);
  // Each extent is checked before the product, which could wrap around.
  hsize_t bytes = 1;
  for (const hsize_t extent : shape.values) {
    if (extent == 0 || extent > seal.pixels_bytes / bytes) {
      throw DataError(path, "dataset \"images\" has shape " + shape.text() + ", but the file holds " +
                                std::to_string(seal.pixels_bytes) + " bytes of pixels");
    }
    bytes *= extent;
  }
  const haddr_t offset = H5Dget_offset(dataset.get());
  if (bytes != seal.pixels_bytes || offset != seal.pixels_offset) {
    throw DataError(path,
                    "dataset \"images\" (" + std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                        ") is not where the file's first block says (" + std::to_string(seal.pixels_bytes) +
                        " bytes at " + std::to_string(seal.pixels_offset) + ")",
                    "import the shard again");
  }
  images = shape.values[0];
  height = static_cast<int>(shape.values[1]);
  width = static_cast<int>(shape.values[2]);
  channels = static_cast<int>(shape.values[3]);
  image_bytes = bytes / images;
  map = FileMap(path, seal.file_bytes);
  pixels = map.bytes().subspan(seal.pixels_offset, seal.pixels_bytes);
}

ShardFile::ShardFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  Impl& shard = *impl_;
  shard.path = path;
  const ShardSeal seal = check_seal(path);
  const Hdf5Quiet quiet;
  const Hdf5Input in(path);
  shard.read_images(in, seal);
  shard.captions = in.strings("captions", shard.images);
  shard.keys = in.strings("keys", shard.images);
  shard.styles = in.strings("styles", shard.images);
  shard.sources = in.strings("sources", shard.images);
  shard.digests = in.digests("digests", shard.images);
  shard.pixel_digests = in.digests("pixel_digests", shard.images);
  shard.perceptual_hashes = in.hashes("perceptual_hashes", shard.images);
  shard.origin = {in.text_attribute("name"), in.text_attribute("source"), in.text_attribute("package"),
                  in.text_attribute("licence")};
  const std::string root = in.text_attribute("root");
  if (in.text_attribute("format") != "soup-shard" || root.size() != 64 ||
      root.find_first_not_of("0123456789abcdef") != std::string::npos) {
    throw DataError(path, "its attributes \"format\" and \"root\" are not those of a shard file");
  }
  shard.root = Digest::from_hex(root);
}

ShardFile::~ShardFile() = default;
ShardFile::ShardFile(ShardFile&&) noexcept = default;
ShardFile& ShardFile::operator=(ShardFile&&) noexcept = default;

const std::filesystem::path& ShardFile::path() const {
  return impl_->path;
}
std::size_t ShardFile::size() const {
  return impl_->images;
}
int ShardFile::height() const {
  return impl_->height;
}
int ShardFile::width() const {
  return impl_->width;
}
int ShardFile::channels() const {
  return impl_->channels;
}
std::span<const std::uint8_t> ShardFile::pixels(std::size_t index) const {
  SOUP_REQUIRE(index < impl_->images, "image " + std::to_string(index) + " of " + std::to_string(impl_->images));
  return impl_->pixels.subspan(index * impl_->image_bytes, impl_->image_bytes);
}
const std::string& ShardFile::caption(std::size_t index) const {
  return impl_->captions.at(index);
}
const std::string& ShardFile::key(std::size_t index) const {
  return impl_->keys.at(index);
}
const std::string& ShardFile::style(std::size_t index) const {
  return impl_->styles.at(index);
}
const std::string& ShardFile::source(std::size_t index) const {
  return impl_->sources.at(index);
}
const Digest& ShardFile::digest(std::size_t index) const {
  return impl_->digests.at(index);
}
const Digest& ShardFile::pixel_digest(std::size_t index) const {
  return impl_->pixel_digests.at(index);
}
std::uint64_t ShardFile::perceptual_hash(std::size_t index) const {
  return impl_->perceptual_hashes.at(index);
}
const Digest& ShardFile::root() const {
  return impl_->root;
}
const ShardOrigin& ShardFile::origin() const {
  return impl_->origin;
}

void ShardFile::verify() const {
  const auto disagree = [&](std::size_t i, const char* what, const Digest& actual, const Digest& stored) {
    throw DataError(impl_->path,
                    "image " + std::to_string(i) + " (" + source(i) + "): its " + what + " " + actual.brief() +
                        ", stored is " + stored.brief(),
                    "the file was damaged or changed; import the shard again");
  };
  for (std::size_t i = 0; i < size(); ++i) {
    const Digest of_pixels = sha256(std::as_bytes(pixels(i)));
    if (of_pixels != pixel_digest(i)) {
      disagree(i, "pixels hash to", of_pixels, pixel_digest(i));
    }
    const Digest whole = sample_digest(pixels(i), caption(i), key(i), style(i));
    if (whole != digest(i)) {
      disagree(i, "pixels and text hash to", whole, digest(i));
    }
  }
  const Digest actual = merkle_root(impl_->digests);
  if (actual != impl_->root) {
    throw DataError(impl_->path, "its Merkle root is " + actual.brief() + ", stored is " + impl_->root.brief());
  }
}

}  // namespace soup
