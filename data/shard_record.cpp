#include "data/shard_record.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "core/error.hpp"
#include "data/duplicates.hpp"

namespace soup {
namespace {

// Precedes a record's texts. Spools are read by the program that wrote them, on the same machine.
struct RecordHeader {
  std::array<std::uint32_t, 4> text_bytes;
  ImageDigests digests;
};
static_assert(std::is_trivially_copyable_v<RecordHeader> && sizeof(RecordHeader) == 16 + 32 + 32 + 8);

constexpr std::size_t block_bytes = 1U << 20;  // longer than any record

}  // namespace

ImageDigests digests_of(const Image& image, std::string_view caption, std::string_view key, std::string_view style) {
  Sha256 of_pixels;
  of_pixels.update(std::as_bytes(std::span(image.pixels)));
  Sha256 of_sample = of_pixels.fork();
  of_sample.update_field(caption).update_field(key).update_field(style);
  return {of_sample.finish(), of_pixels.finish(), difference_hash(image)};
}

void append_record(std::vector<std::byte>& out, const ShardRecord& record) {
  RecordHeader header{.text_bytes = {}, .digests = record.digests};
  const std::array<std::string_view, 4> texts{record.caption, record.key, record.style, record.source};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    header.text_bytes[i] = static_cast<std::uint32_t>(texts[i].size());
  }
  const auto bytes = std::as_bytes(std::span(&header, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
  for (const std::string_view text : texts) {
    const auto part = std::as_bytes(std::span(text));
    out.insert(out.end(), part.begin(), part.end());
  }
}

void each_record(const FileDescriptor& file, std::uint64_t bytes, const std::filesystem::path& reported,
                 const std::function<void(const ShardRecord&)>& visit) {
  std::vector<std::byte> block(block_bytes);
  std::uint64_t position = 0;  // in the file, of block[0]
  while (position < bytes) {
    const auto part = std::span(block).first(std::min<std::uint64_t>(block_bytes, bytes - position));
    file.read_at(position, part, reported);
    std::size_t used = 0;
    while (part.size() - used >= sizeof(RecordHeader)) {
      RecordHeader header;
      std::memcpy(&header, part.data() + used, sizeof header);
      std::uint64_t length = sizeof header;
      for (const std::uint32_t text : header.text_bytes) {
        length += text;
      }
      if (length > part.size() - used) {
        break;
      }
      const char* at = reinterpret_cast<const char*>(part.data()) + used + sizeof header;
      std::array<std::string_view, 4> texts;
      for (std::size_t i = 0; i < texts.size(); ++i) {
        texts[i] = {at, header.text_bytes[i]};
        at += header.text_bytes[i];
      }
      visit({texts[0], texts[1], texts[2], texts[3], header.digests});
      used += length;
    }
    if (used == 0) {
      throw DataError(reported, "its half-made records are damaged", "remove the .partial folder beside it");
    }
    position += used;
  }
}

}  // namespace soup
