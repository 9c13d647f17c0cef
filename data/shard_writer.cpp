#include "data/shard_writer.hpp"

#include <optional>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "data/shard_assembly.hpp"
#include "data/shard_spool.hpp"

namespace soup {
namespace {

constexpr std::size_t max_text_bytes = 4096;
constexpr int max_extent = 16384;  // pixels a side

// Texts with a zero byte would be cut off silently by programs in C.
void require_text(const std::filesystem::path& path, std::string_view what, std::string_view text) {
  if (!is_utf8(text)) {
    throw DataError(path, std::string(what) + " is not UTF-8");
  }
  if (text.find('\0') != std::string_view::npos) {
    throw DataError(path, std::string(what) + " contains a zero byte");
  }
  if (text.size() > max_text_bytes) {
    throw DataError(path, std::string(what) + " is " + std::to_string(text.size()) + " bytes long; the limit is " +
                              std::to_string(max_text_bytes));
  }
}

std::string size_text(int height, int width, int channels) {
  return std::to_string(height) + " x " + std::to_string(width) + " x " + std::to_string(channels);
}

ShardOrigin checked(const std::filesystem::path& path, ShardOrigin origin) {
  for (const std::string* text : {&origin.name, &origin.source, &origin.package, &origin.licence}) {
    require_text(path, "the record of its origin (\"" + *text + "\")", *text);
  }
  return origin;
}

const std::filesystem::path& with_place(const std::filesystem::path& path) {
  require_place_for(path);
  return path;
}

}  // namespace

struct ShardWriter::Impl {
  Impl(const std::filesystem::path& final_path, ShardOrigin shard_origin, std::optional<Digest> identity)
      : path(with_place(final_path)),
        origin(checked(final_path, std::move(shard_origin))),
        spool(final_path, identity) {}

  std::filesystem::path path;
  ShardOrigin origin;
  std::optional<ImageSize> size;  // of all images; any when empty
  int channels = 3;
  ShardSpool spool;
};

ShardWriter::ShardWriter(const std::filesystem::path& path, ShardOrigin origin, int height, int width, int channels) {
  if (height < 1 || width < 1 || channels < 1 || height > max_extent || width > max_extent || channels > 4) {
    throw DataError(path, "images of " + size_text(height, width, channels) +
                              " cannot be stored; the limits are 1 to " + std::to_string(max_extent) +
                              " pixels a side and 1 to 4 channels");
  }
  impl_ = std::make_unique<Impl>(path, std::move(origin), std::nullopt);
  impl_->size = ImageSize{height, width};
  impl_->channels = channels;
}

ShardWriter::ShardWriter(const std::filesystem::path& path, ShardOrigin origin, const Digest& identity)
    : impl_(std::make_unique<Impl>(path, std::move(origin), identity)) {}

ShardWriter::~ShardWriter() = default;

bool ShardWriter::resumed() const {
  return impl_->spool.start() == ShardSpool::Start::resumed;
}
bool ShardWriter::replaced_another() const {
  return impl_->spool.start() == ShardSpool::Start::other;
}
const nlohmann::json& ShardWriter::progress() const {
  return impl_->spool.progress();
}
const std::filesystem::path& ShardWriter::folder() const {
  return impl_->spool.folder();
}
std::uint64_t ShardWriter::images() const {
  return impl_->spool.images();
}

void ShardWriter::append(const Sample& sample) {
  check(sample);
  add(sample, digests_of(sample.image, sample.caption, sample.key, sample.style));
}

void ShardWriter::append(const Sample& sample, const ImageDigests& digests) {
  check(sample);
  add(sample, digests);
}

void ShardWriter::check(const Sample& sample) const {
  const Image& image = sample.image;
  const auto name = "image " + std::to_string(images()) + " (" + sample.source + ")";
  const ImageSize wanted = impl_->size.value_or(ImageSize{image.height, image.width});
  const auto bytes = static_cast<std::size_t>(image.height) * image.width * image.channels;
  if (image.height != wanted.height || image.width != wanted.width || image.channels != impl_->channels ||
      image.pixels.size() != bytes || bytes == 0) {
    throw DataError(impl_->path, name + " is " + size_text(image.height, image.width, image.channels) + " with " +
                                     std::to_string(image.pixels.size()) + " bytes; the shard holds " +
                                     size_text(wanted.height, wanted.width, impl_->channels));
  }
  require_text(impl_->path, "the source of image " + std::to_string(images()), sample.source);
  require_text(impl_->path, "the caption of " + name, sample.caption);
  require_text(impl_->path, "the caption key of " + name, sample.key);
  require_text(impl_->path, "the style of " + name, sample.style);
}

void ShardWriter::add(const Sample& sample, const ImageDigests& digests) {
  impl_->spool.append({sample.image.height, sample.image.width}, sample.image.pixels,
                      {sample.caption, sample.key, sample.style, sample.source, digests});
}

void ShardWriter::save(const nlohmann::json& progress) {
  impl_->spool.save(progress);
}

void ShardWriter::finish(const std::function<void()>& before_naming) {
  Impl& shard = *impl_;
  const std::map<ImageSize, ShardSpool::Part>& parts = shard.spool.parts();
  if (parts.empty()) {
    discard();
    throw DataError(shard.path, "shard \"" + shard.origin.name + "\" has no images",
                    "check the source, its contexts or classes, and the limits");
  }
  ShardContent content;
  content.origin = shard.origin;
  content.channels = shard.channels;
  std::uint64_t first = 0;
  for (const auto& [size, part] : parts) {
    content.buckets.push_back({size.height, size.width, first, part.images});
    content.pixels.push_back({&part.pixels, 0});
    first += part.images;
  }
  content.each_record = [&](const std::function<void(const ShardRecord&)>& visit) {
    for (const auto& [size, part] : parts) {
      each_record(part.records, part.record_bytes, shard.path, visit);
    }
  };
  const std::filesystem::path whole = shard.spool.folder() / "whole.h5";
  assemble_shard(whole, shard.path, content);
  if (before_naming) {
    before_naming();
  }
  commit_file(whole, shard.path);
  shard.spool.remove();
}

void ShardWriter::discard() {
  impl_->spool.remove();
}

Digest sample_digest(std::span<const std::uint8_t> pixels, std::string_view caption, std::string_view key,
                     std::string_view style) {
  Sha256 hash;
  hash.update(std::as_bytes(pixels)).update_field(caption).update_field(key).update_field(style);
  return hash.finish();
}

}  // namespace soup
