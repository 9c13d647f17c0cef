// IDX files (the format of MNIST and Fashion-MNIST: yann.lecun.com/exdb/mnist) into shard files: data/import.hpp's
// import_idx.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "core/progress.hpp"
#include "core/signals.hpp"
#include "data/import.hpp"
#include "data/shard_writer.hpp"

namespace soup {
namespace {

constexpr std::uint32_t image_magic = 0x00000803;  // unsigned bytes, 3 dimensions
constexpr std::uint32_t label_magic = 0x00000801;  // unsigned bytes, 1 dimension
constexpr std::uint32_t max_images = 100'000'000;
constexpr std::uint32_t max_side = 4096;  // pixels

// A plain or gzip-compressed file, read front to back.
class IdxFile {
 public:
  IdxFile(std::filesystem::path path, const std::string& package) : path_(std::move(path)) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path_, error)) {
      throw DataError(path_, "IDX file is not there",
                      package.empty() ? "" : "`bash launch/setup.sh` fetches the Debian package " + package);
    }
    file_.reset(gzopen(path_.c_str(), "rb"));
    if (!file_) {
      throw DataError(path_, "cannot be opened");
    }
  }

  void read(std::span<std::uint8_t> out) {
    const int got = gzread(file_.get(), out.data(), static_cast<unsigned>(out.size()));
    if (got != static_cast<int>(out.size())) {
      int code = Z_OK;
      const std::string text = gzerror(file_.get(), &code);
      throw DataError(path_, code == Z_OK || code == Z_BUF_ERROR ? "ends early (truncated?)" : "is damaged: " + text,
                      "fetch the file again");
    }
  }

  std::uint32_t read_u32() {  // big endian
    std::array<std::uint8_t, 4> b{};
    read(b);
    return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
  }

  void require_magic(std::uint32_t expected, const char* what) {
    if (const std::uint32_t magic = read_u32(); magic != expected) {
      throw DataError(path_, "starts with the number " + std::to_string(magic) + "; an IDX file of " + what +
                                 " starts with " + std::to_string(expected));
    }
  }

  void require_end() {
    std::uint8_t extra = 0;
    if (gzread(file_.get(), &extra, 1) != 0) {
      throw DataError(path_, "goes on after its last entry");
    }
  }

 private:
  struct Close {
    void operator()(gzFile_s* file) const { gzclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, Close> file_;
};

std::vector<std::uint8_t> read_labels(const IdxSource& source) {
  IdxFile file(source.labels, source.package);
  file.require_magic(label_magic, "labels");
  const std::uint32_t count = file.read_u32();
  if (count > max_images) {
    throw DataError(source.labels, "says that it holds " + std::to_string(count) + " labels");
  }
  std::vector<std::uint8_t> labels(count);
  file.read(labels);
  file.require_end();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= source.class_names.size()) {
      throw DataError(source.labels, "label " + std::to_string(i) + " is " + std::to_string(labels[i]) + ", but " +
                                         std::to_string(source.class_names.size()) + " class names are given");
    }
  }
  return labels;
}

// Which images are wanted: those of the wanted classes, and of these `limit` in the order of a digest of their number.
std::vector<bool> choose(const IdxSource& source, const std::vector<std::uint8_t>& labels) {
  std::vector<std::pair<Digest, std::size_t>> order;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto& classes = source.classes;
    if (classes.empty() || std::find(classes.begin(), classes.end(), int{labels[i]}) != classes.end()) {
      order.emplace_back(Sha256().update("soup import order").update_u64(i).finish(), i);
    }
  }
  if (source.limit > 0 && source.limit < order.size()) {
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(source.limit), order.end());
    order.resize(source.limit);
  }
  std::vector<bool> wanted(labels.size(), false);
  for (const auto& [digest, i] : order) {
    wanted[i] = true;
  }
  return wanted;
}

// Grey height x width to grey side x side: larger squares get a black margin (IDX images are bright on black), smaller
// ones the exact mean over each new pixel's area.
std::vector<std::uint8_t> fit_grey(std::span<const std::uint8_t> from, int height, int width, int side) {
  std::vector<std::uint8_t> to(static_cast<std::size_t>(side) * side, 0);
  if (height <= side && width <= side) {
    const int top = (side - height) / 2;
    const int left = (side - width) / 2;
    for (int y = 0; y < height; ++y) {
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(y) * width, width,
                  to.begin() + static_cast<std::ptrdiff_t>(top + y) * side + left);
    }
    return to;
  }
  // The image in the middle of a black square of `longest`, each old pixel `side` units wide and each new one
  // `longest`.
  const int longest = std::max(height, width);
  const int top = (longest - height) / 2;
  const int left = (longest - width) / 2;
  const auto overlap = [&](int old_pixel, int new_pixel) {
    return std::max(0, std::min((old_pixel + 1) * side, (new_pixel + 1) * longest) -
                           std::max(old_pixel * side, new_pixel * longest));
  };
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      std::int64_t sum = 0;
      for (int from_y = y * longest / side; from_y < longest && from_y * side < (y + 1) * longest; ++from_y) {
        for (int from_x = x * longest / side; from_x < longest && from_x * side < (x + 1) * longest; ++from_x) {
          const bool inside = from_y >= top && from_y < top + height && from_x >= left && from_x < left + width;
          const std::int64_t area = std::int64_t{overlap(from_y, y)} * overlap(from_x, x);
          sum += inside ? area * from[static_cast<std::size_t>(from_y - top) * width + (from_x - left)] : 0;
        }
      }
      const std::int64_t area = std::int64_t{longest} * longest;
      to[static_cast<std::size_t>(y) * side + x] = static_cast<std::uint8_t>((sum + area / 2) / area);
    }
  }
  return to;
}

Image to_rgb(const std::vector<std::uint8_t>& grey, int side) {
  Image image{.height = side, .width = side, .channels = 3, .pixels = {}};
  image.pixels.reserve(grey.size() * 3);
  for (const std::uint8_t value : grey) {
    image.pixels.insert(image.pixels.end(), 3, value);
  }
  return image;
}

}  // namespace

ImportReport import_idx(const IdxSource& source, const ImportOptions& options, const std::filesystem::path& path,
                        Log& log) {
  SOUP_REQUIRE(options.resolution > 0, "the resolution is positive");
  IdxFile file(source.images, source.package);
  file.require_magic(image_magic, "images");
  const std::vector<std::uint8_t> labels = read_labels(source);
  const std::uint32_t count = file.read_u32();
  const std::uint32_t height = file.read_u32();
  const std::uint32_t width = file.read_u32();
  if (count != labels.size()) {
    throw DataError(source.images, "holds " + std::to_string(count) + " images, but " + source.labels.string() + " " +
                                       std::to_string(labels.size()) + " labels");
  }
  if (height == 0 || width == 0 || height > max_side || width > max_side) {
    throw DataError(source.images,
                    "says that its images are " + std::to_string(height) + " x " + std::to_string(width));
  }
  const std::vector<bool> wanted = choose(source, labels);

  ImportReport report;
  report.files = count;
  const ShardOrigin origin{options.shard, "IDX file " + source.images.filename().string(), source.package,
                           source.licence};
  ShardWriter writer(path, origin, options.resolution, options.resolution, 3);
  Progress progress(log, "import " + options.shard, count, "images");
  std::vector<std::uint8_t> grey(static_cast<std::size_t>(height) * width);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (stop_requested()) {
      throw Interrupted("stopped while importing " + options.shard + "; nothing of this shard was kept");
    }
    file.read(grey);
    if (wanted[i]) {
      const std::string& name = source.class_names[labels[i]];
      writer.append({to_rgb(fit_grey(grey, static_cast<int>(height), static_cast<int>(width), options.resolution),
                            options.resolution),
                     name, name, source.style, source.images.filename().string() + "#" + std::to_string(i)});
      ++report.kept;
    }
    progress.advance_to(i + 1);
  }
  file.require_end();
  progress.finish();
  writer.finish();
  return report;
}

}  // namespace soup
