#include "data/shard_assembly.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "core/signals.hpp"
#include "data/shard_layout.hpp"
#include "data/shard_seal.hpp"

namespace soup {
namespace {

constexpr std::size_t copy_bytes = 4U << 20;
constexpr std::size_t column_buffer_bytes = 256U << 10;
constexpr std::array<const char*, 4> text_columns{"captions", "keys", "styles", "sources"};

std::array<std::string_view, 4> texts_of(const ShardRecord& record) {
  return {record.caption, record.key, record.style, record.source};
}

// Sums over all records, known before the file is laid out.
struct Totals {
  std::uint64_t images = 0;
  std::array<std::uint64_t, 4> text_bytes{};
  Digest root;
};

Totals add_up(const ShardContent& content) {
  Totals totals;
  MerkleTree tree;
  content.each_record([&](const ShardRecord& record) {
    tree.add(record.digests.sample);
    const auto texts = texts_of(record);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      totals.text_bytes[i] += texts[i].size();
    }
    ++totals.images;
  });
  totals.root = tree.root();
  return totals;
}

// Calls `take` with the bytes of a block, a part at a time.
template <typename Take>
void each_part(const BlockSource& from, std::uint64_t bytes, const std::filesystem::path& reported, Take take) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(copy_bytes, bytes));
  for (std::uint64_t done = 0; done < bytes;) {
    if (stop_requested()) {
      throw Interrupted("stopped while writing " + reported.string());
    }
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), bytes - done));
    from.file->read_at(from.offset + done, part, reported);
    take(done, part);
    done += part.size();
  }
}

Digest digest_of_block(const BlockSource& from, std::uint64_t bytes, const std::filesystem::path& reported) {
  Sha256 hash;
  each_part(from, bytes, reported, [&](std::uint64_t, std::span<const std::byte> part) { hash.update(part); });
  return hash.finish();
}

// Writes a dataset front to back.
class Column {
 public:
  Column(const FileDescriptor& out, ByteRange place, const std::filesystem::path& reported)
      : out_(out), next_(place.offset), end_(place.offset + place.bytes), reported_(reported) {}

  void append(std::span<const std::byte> bytes) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    if (buffer_.size() >= column_buffer_bytes) {
      flush();
    }
  }
  void finish() {
    flush();
    SOUP_REQUIRE(next_ == end_, "a column has the bytes that were laid out for it");
  }

 private:
  void flush() {
    SOUP_REQUIRE(buffer_.size() <= end_ - next_, "a column stays in its place");
    out_.write_at(next_, buffer_, reported_);
    next_ += buffer_.size();
    buffer_.clear();
  }
  const FileDescriptor& out_;
  std::uint64_t next_;
  std::uint64_t end_;
  const std::filesystem::path& reported_;
  std::vector<std::byte> buffer_;
};

// A large block: where its bytes come from and go to.
struct Block {
  BlockSource from;
  ByteRange to;
};

// Where everything goes.
struct Places {
  std::vector<Block> blocks;
  std::array<ByteRange, 4> texts;
  std::array<ByteRange, 4> offsets;
  ByteRange digests, pixel_digests, perceptual_hashes, text_index;
};

class Assembly {
 public:
  Assembly(const std::filesystem::path& partial, const std::filesystem::path& reported, const ShardContent& content)
      : partial_(partial), reported_(reported), content_(content), totals_(add_up(content)) {
    SOUP_REQUIRE(!content.buckets.empty() && content.buckets.size() == content.pixels.size(), "each bucket has pixels");
    const Bucket& last = content.buckets.back();
    SOUP_REQUIRE(totals_.images == last.first + last.count, "each image has a record");
  }

  void write() {
    const std::size_t latents =
        (content_.moments_format ? content_.buckets.size() : 0) + (content_.text_format ? 1 : 0);
    ShardSeal seal{.version = shard_file_version,
                   .seal_bytes = seal_bytes_for(content_.buckets.size() + latents),
                   .file_bytes = 0,
                   .blocks = {},
                   .rest = {}};
    lay_out(seal.seal_bytes);
    {
      const FileDescriptor out(partial_, O_RDWR, reported_);
      for (const Block& block : places_.blocks) {
        each_part(block.from, block.to.bytes, reported_, [&](std::uint64_t done, std::span<const std::byte> part) {
          out.write_at(block.to.offset + done, part, reported_);
        });
        seal.blocks.push_back(block.to);
      }
      write_columns(out);
      seal.file_bytes = out.size(reported_);
    }
    std::ranges::sort(seal.blocks, {}, &ByteRange::offset);
    seal.rest = digest_without_blocks(partial_, seal);
    write_seal(partial_, seal);
  }

 private:
  void lay_out(std::uint64_t seal_bytes) {
    const Hdf5Quiet quiet;
    ShardLayout out(partial_, reported_, seal_bytes);
    out.attribute("format", "soup-shard");
    out.attribute("version", shard_file_version);
    out.attribute("program", "soup " SOUP_VERSION);
    out.attribute("name", content_.origin.name);
    out.attribute("source", content_.origin.source);
    out.attribute("package", content_.origin.package);
    out.attribute("licence", content_.origin.licence);
    out.attribute("root", totals_.root.hex());
    lay_out_buckets(out);
    const std::uint64_t images = totals_.images;
    for (std::size_t i = 0; i < text_columns.size(); ++i) {
      const std::string name = text_columns[i];
      out.group(name);
      places_.texts[i] = out.dataset(name + "/text", H5T_STD_U8LE, std::array<hsize_t, 1>{totals_.text_bytes[i]});
      places_.offsets[i] = out.dataset(name + "/offsets", H5T_STD_U64LE, std::array<hsize_t, 1>{images + 1});
    }
    const std::array<hsize_t, 2> digests{images, sizeof(Digest)};
    places_.digests = out.dataset("digests", H5T_STD_U8LE, digests);
    places_.pixel_digests = out.dataset("pixel_digests", H5T_STD_U8LE, digests);
    places_.perceptual_hashes = out.dataset("perceptual_hashes", H5T_STD_U64LE, std::array<hsize_t, 1>{images});
    if (content_.text_format) {
      lay_out_text_states(out, *content_.text_format);
    }
    out.close();
  }

  void lay_out_buckets(ShardLayout& out) {
    const bool several = content_.buckets.size() > 1;
    if (several) {
      out.group("buckets");
    }
    BlockSource moments = content_.moments;
    for (std::size_t i = 0; i < content_.buckets.size(); ++i) {
      const Bucket& bucket = content_.buckets[i];
      const std::string below = several ? "buckets/" + std::to_string(i) + "/" : "";
      if (several) {
        out.group("buckets/" + std::to_string(i));
      }
      const std::array<hsize_t, 4> shape{bucket.count, static_cast<hsize_t>(bucket.height),
                                         static_cast<hsize_t>(bucket.width), static_cast<hsize_t>(content_.channels)};
      places_.blocks.push_back({content_.pixels[i], out.dataset(below + "images", H5T_STD_U8LE, shape)});
      if (content_.moments_format) {
        const MomentsFormat& format = *content_.moments_format;
        const std::array<hsize_t, 4> latent{bucket.count, static_cast<hsize_t>(format.channels),
                                            static_cast<hsize_t>(bucket.height / format.factor),
                                            static_cast<hsize_t>(bucket.width / format.factor)};
        const std::string name = below + "moments";
        places_.blocks.push_back({moments, out.dataset(name, out.float_type(format.type), latent)});
        const std::uint64_t bytes = places_.blocks.back().to.bytes;
        out.attribute("sha256", digest_of_block(moments, bytes, reported_).hex(), name);
        out.attribute("encoder", format.encoder, name);
        out.attribute("factor", format.factor, name);
        moments.offset += bytes;
      }
    }
  }

  void lay_out_text_states(ShardLayout& out, const TextStatesFormat& format) {
    const std::array<hsize_t, 3> shape{format.texts, static_cast<hsize_t>(format.tokens),
                                       static_cast<hsize_t>(format.width)};
    places_.blocks.push_back({content_.text_states, out.dataset("text_states", out.float_type(format.type), shape)});
    const std::uint64_t bytes = places_.blocks.back().to.bytes;
    out.attribute("sha256", digest_of_block(content_.text_states, bytes, reported_).hex(), "text_states");
    out.attribute("encoder", format.encoder, "text_states");
    places_.text_index = out.dataset("text_index", H5T_STD_U32LE, std::array<hsize_t, 2>{totals_.images, 2});
  }

  void write_columns(const FileDescriptor& out) const {
    const auto column = [&](const ByteRange& place) { return Column(out, place, reported_); };
    std::array texts{column(places_.texts[0]), column(places_.texts[1]), column(places_.texts[2]),
                     column(places_.texts[3])};
    std::array offsets{column(places_.offsets[0]), column(places_.offsets[1]), column(places_.offsets[2]),
                       column(places_.offsets[3])};
    Column digests = column(places_.digests);
    Column pixel_digests = column(places_.pixel_digests);
    Column hashes = column(places_.perceptual_hashes);
    std::array<std::uint64_t, 4> ends{};
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      offsets[i].append(std::as_bytes(std::span(&ends[i], 1)));
    }
    content_.each_record([&](const ShardRecord& record) {
      const auto fields = texts_of(record);
      for (std::size_t i = 0; i < fields.size(); ++i) {
        texts[i].append(std::as_bytes(std::span(fields[i])));
        ends[i] += fields[i].size();
        offsets[i].append(std::as_bytes(std::span(&ends[i], 1)));
      }
      digests.append(std::as_bytes(std::span(record.digests.sample.bytes)));
      pixel_digests.append(std::as_bytes(std::span(record.digests.pixels.bytes)));
      hashes.append(std::as_bytes(std::span(&record.digests.perceptual_hash, 1)));
    });
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts[i].finish();
      offsets[i].finish();
    }
    for (Column* each : {&digests, &pixel_digests, &hashes}) {
      each->finish();
    }
    if (content_.text_format) {
      each_part(content_.text_index, places_.text_index.bytes, reported_,
                [&](std::uint64_t done, std::span<const std::byte> part) {
                  out.write_at(places_.text_index.offset + done, part, reported_);
                });
    }
  }

  const std::filesystem::path& partial_;
  const std::filesystem::path& reported_;
  const ShardContent& content_;
  Totals totals_;
  Places places_;
};

}  // namespace

void assemble_shard(const std::filesystem::path& partial, const std::filesystem::path& reported,
                    const ShardContent& content) {
  Assembly(partial, reported, content).write();
}

}  // namespace soup
