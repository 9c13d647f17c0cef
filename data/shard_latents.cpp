#include "data/shard_latents.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "data/shard_assembly.hpp"

namespace soup {
namespace {

FileDescriptor open_exactly(const std::filesystem::path& path, std::uint64_t bytes, const std::string& what) {
  FileDescriptor file(path, O_RDONLY);
  if (const std::uint64_t actual = file.size(path); actual != bytes) {
    throw DataError(path, "holds " + std::to_string(actual) + " bytes; " + what + " take " + std::to_string(bytes));
  }
  return file;
}

void require_factor(const ShardFile& shard, const MomentsFormat& format) {
  SOUP_REQUIRE(format.factor > 0 && format.channels > 0, "moments have channels and a factor");
  for (const Bucket& bucket : shard.buckets()) {
    if (bucket.height % format.factor != 0 || bucket.width % format.factor != 0) {
      throw DataError(shard.path(),
                      "has images of " + std::to_string(bucket.height) + " x " + std::to_string(bucket.width) +
                          ", which the encoder's factor of " + std::to_string(format.factor) + " does not divide",
                      "import it at sides that are multiples of it");
    }
  }
}

void require_index(const FileDescriptor& file, const std::filesystem::path& path, std::uint64_t images,
                   std::uint64_t texts) {
  std::vector<TextIndex> block(4096);
  for (std::uint64_t first = 0; first < images; first += block.size()) {
    const auto part = std::span(block).first(std::min<std::uint64_t>(block.size(), images - first));
    file.read_at(first * sizeof(TextIndex), std::as_writable_bytes(part), path);
    for (const TextIndex& index : part) {
      if (index.plain >= texts || index.styled >= texts) {
        throw DataError(
            path, "names text " + std::to_string(std::max(index.plain, index.styled)) + " of " + std::to_string(texts));
      }
    }
  }
}

}  // namespace

void add_encoded(const ShardFile& shard, const EncodedFiles& files, const std::filesystem::path& output) {
  const FileDescriptor whole(shard.path(), O_RDONLY);
  FileDescriptor moments;
  FileDescriptor states;
  FileDescriptor index;
  ShardContent content;
  content.origin = shard.origin();
  content.channels = shard.channels();
  content.buckets.assign(shard.buckets().begin(), shard.buckets().end());
  for (const ByteRange& range : shard.pixel_blocks()) {
    content.pixels.push_back({&whole, range.offset});
  }
  content.each_record = [&shard](const std::function<void(const ShardRecord&)>& visit) {
    for (std::size_t i = 0; i < shard.size(); ++i) {
      visit(shard.record(i));
    }
  };
  if (files.moments_format) {
    require_factor(shard, *files.moments_format);
    std::uint64_t bytes = 0;
    for (const Bucket& bucket : shard.buckets()) {
      bytes += bucket.count * files.moments_format->image_bytes(bucket.height, bucket.width);
    }
    moments = open_exactly(files.moments, bytes, "moments of " + std::to_string(shard.size()) + " images");
    content.moments_format = files.moments_format;
    content.moments = {&moments, 0};
  }
  if (files.text_format) {
    const TextStatesFormat& format = *files.text_format;
    SOUP_REQUIRE(format.texts > 0 && format.tokens > 0 && format.width > 0, "text states are of some text");
    states = open_exactly(files.text_states, format.texts * format.text_bytes(),
                          "states of " + std::to_string(format.texts) + " texts");
    index = open_exactly(files.text_index, shard.size() * sizeof(TextIndex),
                         "text numbers of " + std::to_string(shard.size()) + " images");
    require_index(index, files.text_index, shard.size(), format.texts);
    content.text_format = format;
    content.text_states = {&states, 0};
    content.text_index = {&index, 0};
  }
  AtomicPath out(output);
  assemble_shard(out.partial(), output, content);
  out.commit();
}

}  // namespace soup
