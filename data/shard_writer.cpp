// Writing half of data/shard_file.hpp: pixels are spooled to an unnamed file while their number is unknown, and copied
// into one contiguous dataset at the end.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "core/text.hpp"
#include "data/duplicates.hpp"
#include "data/hdf5_handle.hpp"
#include "data/shard_file.hpp"
#include "data/shard_seal.hpp"

namespace soup {
namespace {

constexpr std::size_t max_caption_bytes = 4096;
constexpr int max_extent = 16384;  // pixels a side

// Pixels on their way: a file without a name, gone with its descriptor even when the process is killed.
class Spool {
 public:
  // `partial` is the file being written, `reported` the name that errors show.
  Spool(const std::filesystem::path& partial, std::filesystem::path reported) : reported_(std::move(reported)) {
    const std::filesystem::path name = partial.string() + ".pixels";
    file_ = FileDescriptor(name, O_RDWR | O_CREAT | O_EXCL, reported_);
    std::filesystem::remove(name);
  }

  void append(std::span<const std::uint8_t> bytes) { file_.write_all(std::as_bytes(bytes), reported_); }

  void rewind() const {
    if (lseek(file_.get(), 0, SEEK_SET) != 0) {
      throw DataError(reported_, "cannot read back its pixels: " + errno_text(errno));
    }
  }

  void read(std::span<std::uint8_t> out) const {
    while (!out.empty()) {
      const std::size_t got = file_.read_some(std::as_writable_bytes(out), reported_);
      if (got == 0) {
        throw DataError(reported_, "cannot read back its pixels: they end early");
      }
      out = out.subspan(got);
    }
  }

 private:
  std::filesystem::path reported_;
  FileDescriptor file_;
};

// Writes the datasets and attributes of one open HDF5 file; every failure is a DataError that names the final path.
class Hdf5Output {
 public:
  Hdf5Output(const std::filesystem::path& partial, std::filesystem::path final_path) : path_(std::move(final_path)) {
    Hdf5Properties creation(check(H5Pcreate(H5P_FILE_CREATE), "cannot prepare"));
    check(H5Pset_userblock(creation.get(), shard_seal_bytes), "cannot prepare");
    file_ = Hdf5File(
        check(H5Fcreate(partial.c_str(), H5F_ACC_TRUNC, creation.get(), H5P_DEFAULT), "cannot create the file"));
    string_ = Hdf5Type(check(H5Tcopy(H5T_C_S1), "cannot prepare"));
    check(H5Tset_size(string_.get(), H5T_VARIABLE), "cannot prepare");
    check(H5Tset_cset(string_.get(), H5T_CSET_UTF8), "cannot prepare");
    // Contiguous and allocated at once (so that it can be mapped), without time stamps (equal input, equal bytes).
    dataset_creation_ = Hdf5Properties(check(H5Pcreate(H5P_DATASET_CREATE), "cannot prepare"));
    check(H5Pset_layout(dataset_creation_.get(), H5D_CONTIGUOUS), "cannot prepare");
    check(H5Pset_alloc_time(dataset_creation_.get(), H5D_ALLOC_TIME_EARLY), "cannot prepare");
    check(H5Pset_obj_track_times(dataset_creation_.get(), false), "cannot prepare");
  }

  Hdf5Dataset dataset(const char* name, hid_t type, std::span<const hsize_t> shape) {
    Hdf5Space space(check(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), name));
    return Hdf5Dataset(check(
        H5Dcreate2(file_.get(), name, type, space.get(), H5P_DEFAULT, dataset_creation_.get(), H5P_DEFAULT), name));
  }

  void strings(const char* name, const std::vector<std::string>& values) {
    std::vector<const char*> pointers;
    pointers.reserve(values.size());
    for (const std::string& value : values) {
      pointers.push_back(value.c_str());
    }
    const std::array<hsize_t, 1> shape{values.size()};
    const Hdf5Dataset out = dataset(name, string_.get(), shape);
    check(H5Dwrite(out.get(), string_.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()), name);
  }

  void digests(const char* name, const std::vector<Digest>& values) {
    static_assert(sizeof(Digest) == 32);
    const std::array<hsize_t, 2> shape{values.size(), sizeof(Digest)};
    const Hdf5Dataset out = dataset(name, H5T_STD_U8LE, shape);
    check(H5Dwrite(out.get(), H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), name);
  }

  void hashes(const char* name, const std::vector<std::uint64_t>& values) {
    const std::array<hsize_t, 1> shape{values.size()};
    const Hdf5Dataset out = dataset(name, H5T_STD_U64LE, shape);
    check(H5Dwrite(out.get(), H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), name);
  }

  // Copies the spooled pixels in blocks of whole images; returns where in the file they lie.
  std::uint64_t images(const Spool& spool, const std::array<hsize_t, 4>& shape) {
    const Hdf5Dataset out = dataset("images", H5T_STD_U8LE, shape);
    const hsize_t image_bytes = shape[1] * shape[2] * shape[3];
    const hsize_t block = std::clamp<hsize_t>((8U << 20) / image_bytes, 1, shape[0]);
    std::vector<std::uint8_t> pixels(block * image_bytes);
    spool.rewind();
    for (hsize_t first = 0; first < shape[0]; first += block) {
      const hsize_t count = std::min(block, shape[0] - first);
      const auto part = std::span(pixels).first(count * image_bytes);
      spool.read(part);
      const std::array<hsize_t, 4> start{first, 0, 0, 0};
      const std::array<hsize_t, 4> extent{count, shape[1], shape[2], shape[3]};
      Hdf5Space file_space(check(H5Dget_space(out.get()), "images"));
      Hdf5Space memory_space(check(H5Screate_simple(4, extent.data(), nullptr), "images"));
      check(H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr),
            "images");
      check(H5Dwrite(out.get(), H5T_NATIVE_UINT8, memory_space.get(), file_space.get(), H5P_DEFAULT, part.data()),
            "images");
    }
    const haddr_t offset = H5Dget_offset(out.get());
    SOUP_REQUIRE(offset != HADDR_UNDEF, "a contiguous dataset written in full has an address");
    return offset;
  }

  void attribute(const char* name, const std::string& value) {
    Hdf5Space space(check(H5Screate(H5S_SCALAR), name));
    Hdf5Attribute out(check(H5Acreate2(file_.get(), name, string_.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), name));
    const char* pointer = value.c_str();
    check(H5Awrite(out.get(), string_.get(), &pointer), name);
  }

  void attribute(const char* name, std::int64_t value) {
    Hdf5Space space(check(H5Screate(H5S_SCALAR), name));
    Hdf5Attribute out(check(H5Acreate2(file_.get(), name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), name));
    check(H5Awrite(out.get(), H5T_NATIVE_INT64, &value), name);
  }

  void close() { check(file_.close(), "cannot write"); }

 private:
  template <typename Result>
  Result check(Result result, const char* what) const {
    return hdf5_check(result, path_, std::string("cannot write: ") + what, "is the disk full?");
  }

  std::filesystem::path path_;
  Hdf5File file_;
  Hdf5Type string_;
  Hdf5Properties dataset_creation_;
};

// HDF5 strings end at a zero byte, so one inside would be cut off silently.
void require_text(const std::filesystem::path& path, std::string_view what, std::string_view text) {
  if (!is_utf8(text)) {
    throw DataError(path, std::string(what) + " is not UTF-8");
  }
  if (text.find('\0') != std::string_view::npos) {
    throw DataError(path, std::string(what) + " contains a zero byte");
  }
  if (text.size() > max_caption_bytes) {
    throw DataError(path, std::string(what) + " is " + std::to_string(text.size()) + " bytes long; the limit is " +
                              std::to_string(max_caption_bytes));
  }
}

}  // namespace

struct ShardWriter::Impl {
  Impl(const std::filesystem::path& final_path, ShardOrigin shard_origin, int h, int w, int c)
      : path(final_path),
        out(final_path),
        origin(std::move(shard_origin)),
        height(h),
        width(w),
        channels(c),
        spool(out.partial(), final_path) {}

  std::filesystem::path path;
  AtomicPath out;
  ShardOrigin origin;
  int height;
  int width;
  int channels;
  Spool spool;
  std::vector<std::string> captions, keys, styles, sources;
  std::vector<Digest> digests, pixel_digests;
  std::vector<std::uint64_t> perceptual_hashes;
};

ShardWriter::ShardWriter(const std::filesystem::path& path, ShardOrigin origin, int height, int width, int channels) {
  if (height < 1 || width < 1 || channels < 1 || height > max_extent || width > max_extent || channels > 4) {
    throw DataError(path, "images of " + std::to_string(height) + " x " + std::to_string(width) + " x " +
                              std::to_string(channels) + " cannot be stored; the limits are 1 to " +
                              std::to_string(max_extent) + " pixels a side and 1 to 4 channels");
  }
  for (const std::string* text : {&origin.name, &origin.source, &origin.package, &origin.licence}) {
    require_text(path, "the record of its origin (\"" + *text + "\")", *text);
  }
  impl_ = std::make_unique<Impl>(path, std::move(origin), height, width, channels);
}

ShardWriter::~ShardWriter() = default;

void ShardWriter::append(const Sample& sample) {
  const Image& image = sample.image;
  const auto name = "image " + std::to_string(impl_->captions.size()) + " (" + sample.source + ")";
  const auto expected = static_cast<std::size_t>(impl_->height) * impl_->width * impl_->channels;
  if (image.height != impl_->height || image.width != impl_->width || image.channels != impl_->channels ||
      image.pixels.size() != expected) {
    throw DataError(impl_->path, name + " is " + std::to_string(image.height) + " x " + std::to_string(image.width) +
                                     " x " + std::to_string(image.channels) + " with " +
                                     std::to_string(image.pixels.size()) + " bytes; the shard holds " +
                                     std::to_string(impl_->height) + " x " + std::to_string(impl_->width) + " x " +
                                     std::to_string(impl_->channels));
  }
  require_text(impl_->path, "the source of image " + std::to_string(impl_->captions.size()), sample.source);
  require_text(impl_->path, "the caption of " + name, sample.caption);
  require_text(impl_->path, "the caption key of " + name, sample.key);
  require_text(impl_->path, "the style of " + name, sample.style);
  impl_->spool.append(image.pixels);
  impl_->captions.push_back(sample.caption);
  impl_->keys.push_back(sample.key);
  impl_->styles.push_back(sample.style);
  impl_->sources.push_back(sample.source);
  impl_->digests.push_back(sample_digest(image.pixels, sample.caption, sample.key, sample.style));
  impl_->pixel_digests.push_back(sha256(std::as_bytes(std::span(image.pixels))));
  impl_->perceptual_hashes.push_back(difference_hash(image));
}

void ShardWriter::finish() {
  Impl& shard = *impl_;
  if (shard.captions.empty()) {
    throw DataError(shard.path, "shard \"" + shard.origin.name + "\" has no images",
                    "check the source, its contexts or classes, and the limits");
  }
  const Hdf5Quiet quiet;
  const std::array<hsize_t, 4> shape{shard.captions.size(), static_cast<hsize_t>(shard.height),
                                     static_cast<hsize_t>(shard.width), static_cast<hsize_t>(shard.channels)};
  ShardSeal seal;
  {
    Hdf5Output out(shard.out.partial(), shard.path);
    out.attribute("format", "soup-shard");
    out.attribute("version", shard_file_version);
    out.attribute("program", "soup " SOUP_VERSION);
    out.attribute("name", shard.origin.name);
    out.attribute("source", shard.origin.source);
    out.attribute("package", shard.origin.package);
    out.attribute("licence", shard.origin.licence);
    out.attribute("root", merkle_root(shard.digests).hex());
    seal.pixels_offset = out.images(shard.spool, shape);
    out.strings("captions", shard.captions);
    out.strings("keys", shard.keys);
    out.strings("styles", shard.styles);
    out.strings("sources", shard.sources);
    out.digests("digests", shard.digests);
    out.digests("pixel_digests", shard.pixel_digests);
    out.hashes("perceptual_hashes", shard.perceptual_hashes);
    out.close();
  }
  seal.version = shard_file_version;
  seal.file_bytes = std::filesystem::file_size(shard.out.partial());
  seal.pixels_bytes = shape[0] * shape[1] * shape[2] * shape[3];
  seal.rest = digest_without_pixels(shard.out.partial(), seal.file_bytes, seal.pixels_offset, seal.pixels_bytes);
  write_seal(shard.out.partial(), seal);
  shard.out.commit();
}

Digest sample_digest(std::span<const std::uint8_t> pixels, std::string_view caption, std::string_view key,
                     std::string_view style) {
  Sha256 hash;
  hash.update(std::as_bytes(pixels)).update_field(caption).update_field(key).update_field(style);
  return hash.finish();
}

}  // namespace soup
