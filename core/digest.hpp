// SHA-256 digests (OpenSSL), of memory and files, and Merkle roots over them.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

struct Digest {
  std::array<std::uint8_t, 32> bytes{};

  // 64 lower-case hex digits.
  [[nodiscard]] std::string hex() const;
  // First 12 hex digits, for people.
  [[nodiscard]] std::string brief() const;
  // Throws ConfigError when `text` is not 64 hex digits; readers of files turn it into their DataError.
  static Digest from_hex(std::string_view text);

  auto operator<=>(const Digest&) const = default;
};

// Incremental SHA-256.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);
  // Length-prefixed text: the digest of a list of fields has no two readings.
  Sha256& update_field(std::string_view text);
  Sha256& update_u64(std::uint64_t value);  // 8 bytes, little endian
  // Ends the computation; using the object afterwards throws InvariantError.
  Digest finish();
  // A second computation that goes on from here.
  [[nodiscard]] Sha256 fork() const;

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest sha256(std::span<const std::byte> bytes);
Digest sha256(std::string_view text);
// Digest of a file's bytes, read in blocks. Throws DataError.
Digest sha256_file(const std::filesystem::path& path);

// The two halves of a Merkle tree as RFC 6962 section 2.1 defines it: SHA-256 of 0x00 and a leaf's bytes, and the root
// over such hashes (nodes are SHA-256 of 0x01 and both children).
Digest merkle_leaf_hash(std::span<const std::byte> leaf);
Digest merkle_root_of_leaf_hashes(std::span<const Digest> leaf_hashes);

// Root of the Merkle tree over `leaves`, each leaf being the 32 bytes of a digest. No leaves: SHA-256 of the empty
// string.
Digest merkle_root(std::span<const Digest> leaves);

// The same root, leaf by leaf, in memory for the logarithm of their number.
class MerkleTree {
 public:
  void add(const Digest& leaf);
  [[nodiscard]] Digest root() const;

 private:
  // Whole subtrees, largest first: one for each one in the binary number of leaves.
  std::vector<Digest> subtrees_;
  std::uint64_t leaves_ = 0;
};

}  // namespace soup
