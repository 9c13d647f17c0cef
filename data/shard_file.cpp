#include "data/shard_file.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "core/error.hpp"
#include "data/file_map.hpp"
#include "data/shard_reading.hpp"
#include "data/text_column.hpp"

namespace soup {
namespace {

constexpr std::uint64_t longest_side = 1U << 20;  // pixels; more is no image

}  // namespace

struct ShardFile::Impl {
  explicit Impl(const std::filesystem::path& file) : path(file) {}

  std::filesystem::path path;
  FileMap map;
  std::size_t images = 0;
  int channels = 0;
  std::vector<Bucket> buckets;
  std::vector<ByteRange> pixels;   // per bucket
  std::vector<ByteRange> moments;  // per bucket, or none
  TextColumn captions, keys, styles, sources;
  ByteRange digests, pixel_digests, perceptual_hashes, text_states, text_index;
  std::optional<MomentsFormat> moments_format;
  std::optional<TextStatesFormat> text_format;
  std::vector<Digest> block_digests;  // of the moments of each bucket, then of the text states
  Digest root;
  ShardOrigin origin;

  void read(const ShardReading& in, const ShardSeal& seal);
  void read_bucket(const ShardReading& in, const std::string& below);
  void read_moments(const ShardReading& in, const std::string& name);
  void read_text_states(const ShardReading& in);
  void require_blocks(const ShardSeal& seal) const;

  [[nodiscard]] std::span<const std::uint8_t> mapped(const ByteRange& range) const {
    return map.bytes().subspan(range.offset, range.bytes);
  }
  template <typename Value>
  [[nodiscard]] Value entry(const ByteRange& column, std::size_t index) const {
    SOUP_REQUIRE(index < images, "image " + std::to_string(index) + " of " + std::to_string(images));
    Value value;
    std::memcpy(&value, map.bytes().data() + column.offset + index * sizeof value, sizeof value);
    return value;
  }
  [[nodiscard]] std::size_t bucket_number(std::size_t index) const {
    SOUP_REQUIRE(index < images, "image " + std::to_string(index) + " of " + std::to_string(images));
    const auto after = std::ranges::upper_bound(buckets, index, {}, &Bucket::first);
    return static_cast<std::size_t>(after - buckets.begin()) - 1;
  }
};

void ShardFile::Impl::read_bucket(const ShardReading& in, const std::string& below) {
  const DatasetPlace place = in.dataset(below + "images", H5T_STD_U8LE, 4);
  const std::vector<std::uint64_t>& shape = place.shape;
  const bool sane = std::ranges::none_of(shape, [](std::uint64_t extent) { return extent == 0; }) &&
                    shape[1] <= longest_side && shape[2] <= longest_side && shape[3] <= 4;
  const Bucket bucket{static_cast<int>(std::min(shape[1], longest_side)),
                      static_cast<int>(std::min(shape[2], longest_side)), images, shape[0]};
  const bool ordered = buckets.empty() ||
                       std::pair(buckets.back().height, buckets.back().width) < std::pair(bucket.height, bucket.width);
  if (!sane || !ordered || (channels != 0 && shape[3] != static_cast<std::uint64_t>(channels))) {
    throw DataError(path,
                    "dataset \"" + below + "images\" has shape " + place.shape_text() +
                        ", which is no bucket of a shard (number, height, width, channels; by size; no extent 0)",
                    "import the shard again");
  }
  channels = static_cast<int>(shape[3]);
  buckets.push_back(bucket);
  pixels.push_back(place.range);
  images += shape[0];
  if (in.has(below + "moments")) {
    read_moments(in, below + "moments");
  }
}

void ShardFile::Impl::read_moments(const ShardReading& in, const std::string& name) {
  const Bucket& bucket = buckets.back();
  MomentsFormat format;
  const DatasetPlace place = in.floats(name, 4, format.type);
  const std::int64_t factor = in.whole_attribute("factor", name);
  format.encoder = in.text_attribute("encoder", name);
  const auto side = [factor](int pixels_a_side) { return static_cast<std::uint64_t>(pixels_a_side / factor); };
  if (factor < 1 || factor > bucket.height || factor > bucket.width || place.shape[1] > longest_side ||
      place.shape != std::vector{bucket.count, place.shape[1], side(bucket.height), side(bucket.width)}) {
    throw DataError(path, "dataset \"" + name + "\" has shape " + place.shape_text() + " and factor " +
                              std::to_string(factor) + ", which do not fit its " + std::to_string(bucket.count) +
                              " images of " + std::to_string(bucket.height) + " x " + std::to_string(bucket.width));
  }
  format.factor = static_cast<int>(factor);
  format.channels = static_cast<int>(place.shape[1]);
  if (moments.size() + 1 != buckets.size() || (moments_format && *moments_format != format)) {
    throw DataError(path, "not all of its buckets have moments of one encoder", "encode the shard again");
  }
  moments_format = format;
  moments.push_back(place.range);
  block_digests.push_back(in.digest_attribute("sha256", name));
}

void ShardFile::Impl::read_text_states(const ShardReading& in) {
  TextStatesFormat format;
  const DatasetPlace place = in.floats("text_states", 3, format.type);
  format.encoder = in.text_attribute("encoder", "text_states");
  if (place.range.bytes == 0 || place.shape[1] > longest_side || place.shape[2] > longest_side) {
    throw DataError(path, "dataset \"text_states\" has shape " + place.shape_text() + ", which holds no text states");
  }
  format.texts = place.shape[0];
  format.tokens = static_cast<int>(place.shape[1]);
  format.width = static_cast<int>(place.shape[2]);
  text_format = format;
  text_states = place.range;
  block_digests.push_back(in.digest_attribute("sha256", "text_states"));
  text_index = in.place_of("text_index", H5T_STD_U32LE, {images, 2});
}

// The blocks that the seal leaves out must be those that verify() looks at.
void ShardFile::Impl::require_blocks(const ShardSeal& seal) const {
  std::vector<ByteRange> found = pixels;
  found.insert(found.end(), moments.begin(), moments.end());
  if (text_format) {
    found.push_back(text_states);
  }
  std::ranges::sort(found, {}, &ByteRange::offset);
  if (found != seal.blocks) {
    throw DataError(path, "its images do not lie where the file's first block says", "import the shard again");
  }
}

void ShardFile::Impl::read(const ShardReading& in, const ShardSeal& seal) {
  if (in.text_attribute("format") != "soup-shard") {
    throw DataError(path, "its attribute \"format\" is not that of a shard file");
  }
  root = in.digest_attribute("root");
  origin = {in.text_attribute("name"), in.text_attribute("source"), in.text_attribute("package"),
            in.text_attribute("licence")};
  if (in.has("buckets/0")) {
    for (int i = 0; in.has("buckets/" + std::to_string(i)); ++i) {
      read_bucket(in, "buckets/" + std::to_string(i) + "/");
    }
  } else {
    read_bucket(in, "");
  }
  if (!moments.empty() && moments.size() != buckets.size()) {
    throw DataError(path, "not all of its buckets have moments of one encoder", "encode the shard again");
  }
  if (in.has("text_states")) {
    read_text_states(in);
  }
  require_blocks(seal);
  map = FileMap(path, seal.file_bytes);
  const auto column = [&](const std::string& name) {
    const DatasetPlace text = in.dataset(name + "/text", H5T_STD_U8LE, 1);
    const ByteRange offsets = in.place_of(name + "/offsets", H5T_STD_U64LE, {images + 1});
    return TextColumn(mapped(text.range), mapped(offsets), path, name);
  };
  captions = column("captions");
  keys = column("keys");
  styles = column("styles");
  sources = column("sources");
  digests = in.place_of("digests", H5T_STD_U8LE, {images, sizeof(Digest)});
  pixel_digests = in.place_of("pixel_digests", H5T_STD_U8LE, {images, sizeof(Digest)});
  perceptual_hashes = in.place_of("perceptual_hashes", H5T_STD_U64LE, {images});
  if (text_format) {
    for (std::size_t i = 0; i < images; ++i) {
      const auto index = entry<TextIndex>(text_index, i);
      if (index.plain >= text_format->texts || index.styled >= text_format->texts) {
        throw DataError(path, "image " + std::to_string(i) + " has text states past the end of all " +
                                  std::to_string(text_format->texts));
      }
    }
  }
}

ShardFile::ShardFile(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {
  const ShardSeal seal = check_seal(path);
  const Hdf5Quiet quiet;
  impl_->read(ShardReading(path, seal.file_bytes), seal);
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
std::span<const Bucket> ShardFile::buckets() const {
  return impl_->buckets;
}
const Bucket& ShardFile::bucket_of(std::size_t index) const {
  return impl_->buckets[impl_->bucket_number(index)];
}
int ShardFile::height() const {
  SOUP_REQUIRE(one_size(), "the one height of images of several sizes was asked for");
  return impl_->buckets.front().height;
}
int ShardFile::width() const {
  SOUP_REQUIRE(one_size(), "the one width of images of several sizes was asked for");
  return impl_->buckets.front().width;
}
int ShardFile::channels() const {
  return impl_->channels;
}
std::span<const std::uint8_t> ShardFile::pixels(std::size_t index) const {
  const std::size_t number = impl_->bucket_number(index);
  const Bucket& bucket = impl_->buckets[number];
  const std::uint64_t bytes = impl_->pixels[number].bytes / bucket.count;
  return impl_->mapped({impl_->pixels[number].offset + (index - bucket.first) * bytes, bytes});
}
std::string_view ShardFile::caption(std::size_t index) const {
  SOUP_REQUIRE(index < size(), "a caption past the end of the shard");
  return impl_->captions[index];
}
std::string_view ShardFile::key(std::size_t index) const {
  SOUP_REQUIRE(index < size(), "a key past the end of the shard");
  return impl_->keys[index];
}
std::string_view ShardFile::style(std::size_t index) const {
  SOUP_REQUIRE(index < size(), "a style past the end of the shard");
  return impl_->styles[index];
}
std::string_view ShardFile::source(std::size_t index) const {
  SOUP_REQUIRE(index < size(), "a source past the end of the shard");
  return impl_->sources[index];
}
Digest ShardFile::digest(std::size_t index) const {
  return impl_->entry<Digest>(impl_->digests, index);
}
Digest ShardFile::pixel_digest(std::size_t index) const {
  return impl_->entry<Digest>(impl_->pixel_digests, index);
}
std::uint64_t ShardFile::perceptual_hash(std::size_t index) const {
  return impl_->entry<std::uint64_t>(impl_->perceptual_hashes, index);
}
ShardRecord ShardFile::record(std::size_t index) const {
  return {caption(index),
          key(index),
          style(index),
          source(index),
          {digest(index), pixel_digest(index), perceptual_hash(index)}};
}
const Digest& ShardFile::root() const {
  return impl_->root;
}
const ShardOrigin& ShardFile::origin() const {
  return impl_->origin;
}
std::span<const ByteRange> ShardFile::pixel_blocks() const {
  return impl_->pixels;
}
const std::optional<MomentsFormat>& ShardFile::moments_format() const {
  return impl_->moments_format;
}
std::span<const std::byte> ShardFile::moments(std::size_t index) const {
  SOUP_REQUIRE(impl_->moments_format.has_value(), "moments were asked for of a shard without");
  const std::size_t number = impl_->bucket_number(index);
  const Bucket& bucket = impl_->buckets[number];
  const std::uint64_t bytes = impl_->moments_format->image_bytes(bucket.height, bucket.width);
  return std::as_bytes(impl_->mapped({impl_->moments[number].offset + (index - bucket.first) * bytes, bytes}));
}
const std::optional<TextStatesFormat>& ShardFile::text_states_format() const {
  return impl_->text_format;
}
TextIndex ShardFile::text_index(std::size_t index) const {
  SOUP_REQUIRE(impl_->text_format.has_value(), "text states were asked for of a shard without");
  return impl_->entry<TextIndex>(impl_->text_index, index);
}
std::span<const std::byte> ShardFile::text_states(std::uint64_t text) const {
  SOUP_REQUIRE(impl_->text_format && text < impl_->text_format->texts, "text states past the end");
  const std::uint64_t bytes = impl_->text_format->text_bytes();
  return std::as_bytes(impl_->mapped({impl_->text_states.offset + text * bytes, bytes}));
}

void ShardFile::verify() const {
  const std::string hint = "the file was damaged or changed; import the shard again";
  const auto disagree = [&](std::size_t i, const char* what, const Digest& actual, const Digest& stored) {
    throw DataError(impl_->path,
                    "image " + std::to_string(i) + " (" + std::string(source(i)) + "): its " + what + " " +
                        actual.brief() + ", stored is " + stored.brief(),
                    hint);
  };
  MerkleTree tree;
  for (std::size_t i = 0; i < size(); ++i) {
    Sha256 of_pixels;
    of_pixels.update(std::as_bytes(pixels(i)));
    const Digest whole = of_pixels.fork().update_field(caption(i)).update_field(key(i)).update_field(style(i)).finish();
    if (const Digest actual = of_pixels.finish(); actual != pixel_digest(i)) {
      disagree(i, "pixels hash to", actual, pixel_digest(i));
    }
    if (whole != digest(i)) {
      disagree(i, "pixels and text hash to", whole, digest(i));
    }
    tree.add(whole);
  }
  if (const Digest actual = tree.root(); actual != impl_->root) {
    throw DataError(impl_->path, "its Merkle root is " + actual.brief() + ", stored is " + impl_->root.brief());
  }
  std::vector<ByteRange> blocks = impl_->moments;
  if (impl_->text_format) {
    blocks.push_back(impl_->text_states);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Digest actual = sha256(std::as_bytes(impl_->mapped(blocks[i])));
    if (actual != impl_->block_digests[i]) {
      throw DataError(impl_->path,
                      (i < impl_->moments.size() ? "the moments of bucket " + std::to_string(i) : "the text states") +
                          " hash to " + actual.brief() + ", stored is " + impl_->block_digests[i].brief(),
                      hint);
    }
  }
}

}  // namespace soup
