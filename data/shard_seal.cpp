#include "data/shard_seal.hpp"

#include <fcntl.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"
#include "data/shard_file.hpp"

namespace soup {
namespace {

constexpr std::string_view magic = "soup-shard ";
constexpr std::string_view hdf5_signature = "\x89HDF\r\n\x1a\n";
constexpr std::uint64_t smallest_seal = 512;
constexpr std::uint64_t largest_seal = 1U << 20;
constexpr std::uint64_t longest_line = 48;  // "block ", two numbers of 20 digits, a space and the end
constexpr std::uint64_t lines_but_blocks = 256;

std::string render(const ShardSeal& seal) {
  std::ostringstream text;
  text << magic << seal.version << "\nseal_bytes " << seal.seal_bytes << "\nfile_bytes " << seal.file_bytes
       << "\nblocks " << seal.blocks.size() << '\n';
  for (const ByteRange& block : seal.blocks) {
    text << "block " << block.offset << ' ' << block.bytes << '\n';
  }
  text << "sha256_without_blocks " << seal.rest.hex() << '\n';
  std::string out = text.str();
  SOUP_REQUIRE(out.size() < seal.seal_bytes, "a seal holds its text");
  out.resize(seal.seal_bytes, '\0');
  return out;
}

[[noreturn]] void refuse_as_damaged(const std::filesystem::path& path) {
  throw DataError(path, "its first block is damaged", "import the shard again");
}

// The first lines, which say how long the seal is.
ShardSeal parse_start(const std::filesystem::path& path, const std::string& start) {
  if (!start.starts_with(magic)) {
    const bool hdf5 = start.starts_with(hdf5_signature);
    throw DataError(path, hdf5 ? "is an HDF5 file but not a soup shard file" : "is not a soup shard file",
                    "make shard files with `soup import`");
  }
  ShardSeal seal;
  std::istringstream text(start.substr(magic.size()));
  text >> seal.version;
  if (text && seal.version != shard_file_version) {
    throw DataError(path,
                    "has shard file version " + std::to_string(seal.version) + "; this program reads version " +
                        std::to_string(shard_file_version),
                    "import the shard again with this program");
  }
  std::string word;
  text >> word >> seal.seal_bytes;
  if (!text || !std::has_single_bit(seal.seal_bytes) || seal.seal_bytes < smallest_seal ||
      seal.seal_bytes > largest_seal) {
    refuse_as_damaged(path);
  }
  return seal;
}

ShardSeal parse(const std::filesystem::path& path, ShardSeal seal, const std::string& block) {
  std::istringstream text(block.substr(magic.size()));
  std::string word;
  std::string hex;
  std::size_t blocks = 0;
  text >> seal.version >> word >> seal.seal_bytes >> word >> seal.file_bytes >> word >> blocks;
  // A block takes at least 10 bytes of text.
  if (!text || blocks > block.size() / 10) {
    refuse_as_damaged(path);
  }
  seal.blocks.resize(blocks);
  for (ByteRange& range : seal.blocks) {
    text >> word >> range.offset >> range.bytes;
  }
  text >> word >> hex;
  const bool is_hex = hex.size() == 64 && hex.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (text && is_hex) {
    seal.rest = Digest::from_hex(hex);
  }
  // Rendering again must give the same block: no second spelling, no stray bytes.
  if (!text || !is_hex || render(seal) != block) {
    refuse_as_damaged(path);
  }
  return seal;
}

}  // namespace

std::uint64_t seal_bytes_for(std::size_t blocks) {
  return std::bit_ceil(std::max<std::uint64_t>(smallest_seal, lines_but_blocks + longest_line * blocks));
}

Digest digest_without_blocks(const std::filesystem::path& path, const ShardSeal& seal) {
  const FileDescriptor in(path, O_RDONLY);
  Sha256 hash;
  std::vector<std::byte> block(1 << 20);
  const auto add = [&](std::uint64_t begin, std::uint64_t end) {
    while (begin < end) {
      const auto part = std::span(block).first(std::min<std::uint64_t>(block.size(), end - begin));
      in.read_at(begin, part, path);
      hash.update(part);
      begin += part.size();
    }
  };
  std::uint64_t done = seal.seal_bytes;
  for (const ByteRange& range : seal.blocks) {
    add(done, range.offset);
    done = range.offset + range.bytes;
  }
  add(done, seal.file_bytes);
  return hash.finish();
}

void write_seal(const std::filesystem::path& path, const ShardSeal& seal) {
  std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
  const std::string block = render(seal);
  out.write(block.data(), static_cast<std::streamsize>(block.size()));
  out.flush();
  if (!out) {
    throw DataError(path, "cannot write: " + errno_text(errno), errno_hint(errno));
  }
}

ShardSeal check_seal(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    throw DataError(path, std::filesystem::exists(path, error) ? "is not a regular file" : "does not exist",
                    "make shard files with `soup import`");
  }
  const std::uint64_t actual = std::filesystem::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  std::string block(smallest_seal, '\0');
  in.read(block.data(), static_cast<std::streamsize>(block.size()));
  if (error || in.bad() || !in.is_open()) {
    throw DataError(path, "cannot read: " + errno_text(errno));
  }
  ShardSeal seal = parse_start(path, block);
  block.resize(seal.seal_bytes, '\0');
  in.read(block.data() + smallest_seal, static_cast<std::streamsize>(seal.seal_bytes - smallest_seal));
  seal = parse(path, seal, block);
  if (actual != seal.file_bytes) {
    throw DataError(path,
                    "is " + std::to_string(actual) + " bytes long but was written with " +
                        std::to_string(seal.file_bytes) + " (truncated copy?)",
                    "copy the file again or import the shard again");
  }
  std::uint64_t end = seal.seal_bytes;
  for (const ByteRange& range : seal.blocks) {
    if (range.offset < end || range.offset > actual || range.bytes > actual - range.offset) {
      throw DataError(path, "its blocks overlap or reach past the end of the file", "import the shard again");
    }
    end = range.offset + range.bytes;
  }
  const Digest rest = digest_without_blocks(path, seal);
  if (rest != seal.rest) {
    throw DataError(
        path, "is damaged: its captions and records hash to " + rest.brief() + ", written were " + seal.rest.brief(),
        "copy the file again or import the shard again");
  }
  return seal;
}

}  // namespace soup
