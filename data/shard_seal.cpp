#include "data/shard_seal.hpp"

#include <algorithm>
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

std::string render(const ShardSeal& seal) {
  std::ostringstream text;
  text << magic << seal.version << "\nfile_bytes " << seal.file_bytes << "\npixels_offset " << seal.pixels_offset
       << "\npixels_bytes " << seal.pixels_bytes << "\nsha256_without_pixels " << seal.rest.hex() << '\n';
  std::string block = text.str();
  block.resize(shard_seal_bytes, '\0');
  return block;
}

ShardSeal parse(const std::filesystem::path& path, const std::string& block) {
  if (!block.starts_with(magic)) {
    const bool hdf5 = block.starts_with(hdf5_signature);
    throw DataError(path, hdf5 ? "is an HDF5 file but not a soup shard file" : "is not a soup shard file",
                    "make shard files with `soup import`");
  }
  ShardSeal seal;
  std::istringstream text(block.substr(magic.size()));
  text >> seal.version;
  if (text && seal.version != shard_file_version) {
    throw DataError(path,
                    "has shard file version " + std::to_string(seal.version) + "; this program reads version " +
                        std::to_string(shard_file_version),
                    "import the shard again with this program");
  }
  std::string word;
  std::string hex;
  text >> word >> seal.file_bytes >> word >> seal.pixels_offset >> word >> seal.pixels_bytes >> word >> hex;
  const bool is_hex = hex.size() == 64 && hex.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (text && is_hex) {
    seal.rest = Digest::from_hex(hex);
  }
  // Rendering again must give the same block: no second spelling, no stray bytes.
  if (!text || !is_hex || render(seal) != block) {
    throw DataError(path, "its first 512 bytes are damaged", "import the shard again");
  }
  return seal;
}

}  // namespace

Digest digest_without_pixels(const std::filesystem::path& path, std::uint64_t file_bytes, std::uint64_t pixels_offset,
                             std::uint64_t pixels_bytes) {
  std::ifstream in(path, std::ios::binary);
  Sha256 hash;
  std::vector<char> block(1 << 20);
  const auto add = [&](std::uint64_t begin, std::uint64_t end) {
    in.seekg(static_cast<std::streamoff>(begin));
    while (in && begin < end) {
      const std::uint64_t bytes = std::min<std::uint64_t>(block.size(), end - begin);
      in.read(block.data(), static_cast<std::streamsize>(bytes));
      hash.update(std::as_bytes(std::span(block).first(bytes)));
      begin += bytes;
    }
  };
  add(shard_seal_bytes, pixels_offset);
  add(pixels_offset + pixels_bytes, file_bytes);
  if (!in) {
    throw DataError(path, "cannot read: " + errno_text(errno));
  }
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
  std::string block(shard_seal_bytes, '\0');
  in.read(block.data(), static_cast<std::streamsize>(block.size()));
  if (error || in.bad() || !in.is_open()) {
    throw DataError(path, "cannot read: " + errno_text(errno));
  }
  const ShardSeal seal = parse(path, block);
  if (actual != seal.file_bytes) {
    throw DataError(path,
                    "is " + std::to_string(actual) + " bytes long but was written with " +
                        std::to_string(seal.file_bytes) + " (truncated copy?)",
                    "copy the file again or import the shard again");
  }
  if (seal.pixels_offset < shard_seal_bytes || seal.pixels_offset > actual ||
      seal.pixels_bytes > actual - seal.pixels_offset) {
    throw DataError(path, "its pixels reach past the end of the file", "import the shard again");
  }
  const Digest rest = digest_without_pixels(path, actual, seal.pixels_offset, seal.pixels_bytes);
  if (rest != seal.rest) {
    throw DataError(
        path, "is damaged: its captions and records hash to " + rest.brief() + ", written were " + seal.rest.brief(),
        "copy the file again or import the shard again");
  }
  return seal;
}

}  // namespace soup
