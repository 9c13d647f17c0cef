#include "core/digest.hpp"

#include <fcntl.h>
#include <openssl/evp.h>

#include <bit>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/file_descriptor.hpp"

namespace soup {

namespace {

constexpr std::size_t file_block_bytes = std::size_t{1} << 20;
constexpr std::byte leaf_prefix{0x00};
constexpr std::byte node_prefix{0x01};

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') {
    return digit - '0';
  }
  if (digit >= 'a' && digit <= 'f') {
    return digit - 'a' + 10;
  }
  if (digit >= 'A' && digit <= 'F') {
    return digit - 'A' + 10;
  }
  return -1;
}

Digest merkle_node_hash(const Digest& left, const Digest& right) {
  Sha256 sha;
  sha.update(std::span(&node_prefix, 1));
  sha.update(std::as_bytes(std::span(left.bytes)));
  sha.update(std::as_bytes(std::span(right.bytes)));
  return sha.finish();
}

}  // namespace

std::string Digest::hex() const {
  constexpr std::string_view hex_digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text.push_back(hex_digits[byte >> 4U]);
    text.push_back(hex_digits[byte & 15U]);
  }
  return text;
}

std::string Digest::brief() const {
  return hex().substr(0, 12);
}

Digest Digest::from_hex(std::string_view text) {
  Digest digest;
  bool valid = text.size() == 2 * digest.bytes.size();
  for (std::size_t i = 0; valid && i < digest.bytes.size(); ++i) {
    const int high = hex_value(text[2 * i]);
    const int low = hex_value(text[2 * i + 1]);
    valid = high >= 0 && low >= 0;
    digest.bytes[i] = static_cast<std::uint8_t>(valid ? 16 * high + low : 0);
  }
  if (!valid) {
    throw ConfigError("not a SHA-256 digest: \"" + std::string(text.substr(0, 80)) + "\" (" +
                          std::to_string(text.size()) + " characters)",
                      "a digest is 64 hex digits");
  }
  return digest;
}

struct Sha256::Context {
  Context() { require(state != nullptr && EVP_DigestInit_ex(state.get(), EVP_sha256(), nullptr) == 1); }

  static void require(bool succeeded) { SOUP_REQUIRE(succeeded, "OpenSSL could not compute SHA-256"); }

  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> state{EVP_MD_CTX_new()};
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::update(std::span<const std::byte> bytes) {
  SOUP_REQUIRE(context_ != nullptr, "a SHA-256 was updated after it had ended");
  Context::require(EVP_DigestUpdate(context_->state.get(), bytes.data(), bytes.size()) == 1);
  return *this;
}

Sha256& Sha256::update(std::string_view text) {
  return update(std::as_bytes(std::span(text)));
}

Sha256& Sha256::update_field(std::string_view text) {
  return update_u64(text.size()).update(text);
}

Sha256& Sha256::update_u64(std::uint64_t value) {
  std::array<std::byte, 8> little_endian{};
  for (std::size_t i = 0; i < little_endian.size(); ++i) {
    little_endian[i] = static_cast<std::byte>(value >> (8 * i));
  }
  return update(little_endian);
}

Digest Sha256::finish() {
  SOUP_REQUIRE(context_ != nullptr, "a SHA-256 was ended twice");
  Digest digest;
  Context::require(EVP_DigestFinal_ex(context_->state.get(), digest.bytes.data(), nullptr) == 1);
  context_.reset();
  return digest;
}

Sha256 Sha256::fork() const {
  SOUP_REQUIRE(context_ != nullptr, "a SHA-256 was forked after it had ended");
  Sha256 copy;
  Context::require(EVP_MD_CTX_copy_ex(copy.context_->state.get(), context_->state.get()) == 1);
  return copy;
}

Digest sha256(std::span<const std::byte> bytes) {
  return Sha256().update(bytes).finish();
}

Digest sha256(std::string_view text) {
  return Sha256().update(text).finish();
}

Digest sha256_file(const std::filesystem::path& path) {
  const FileDescriptor file(path, O_RDONLY);
  std::vector<std::byte> block(file_block_bytes);
  Sha256 sha;
  while (const std::size_t count = file.read_some(block, path)) {
    sha.update(std::span(block).first(count));
  }
  return sha.finish();
}

Digest merkle_leaf_hash(std::span<const std::byte> leaf) {
  return Sha256().update(std::span(&leaf_prefix, 1)).update(leaf).finish();
}

Digest merkle_root_of_leaf_hashes(std::span<const Digest> leaf_hashes) {
  if (leaf_hashes.empty()) {
    return sha256(std::string_view());
  }
  if (leaf_hashes.size() == 1) {
    return leaf_hashes.front();
  }
  // RFC 6962: the left subtree holds the largest power of two smaller than the number of leaves.
  const std::size_t left = std::bit_floor(leaf_hashes.size() - 1);
  return merkle_node_hash(merkle_root_of_leaf_hashes(leaf_hashes.first(left)),
                          merkle_root_of_leaf_hashes(leaf_hashes.subspan(left)));
}

Digest merkle_root(std::span<const Digest> leaves) {
  std::vector<Digest> leaf_hashes;
  leaf_hashes.reserve(leaves.size());
  for (const Digest& leaf : leaves) {
    leaf_hashes.push_back(merkle_leaf_hash(std::as_bytes(std::span(leaf.bytes))));
  }
  return merkle_root_of_leaf_hashes(leaf_hashes);
}

void MerkleTree::add(const Digest& leaf) {
  Digest subtree = merkle_leaf_hash(std::as_bytes(std::span(leaf.bytes)));
  for (std::uint64_t carry = leaves_++; (carry & 1U) != 0; carry >>= 1U) {
    subtree = merkle_node_hash(subtrees_.back(), subtree);
    subtrees_.pop_back();
  }
  subtrees_.push_back(subtree);
}

Digest MerkleTree::root() const {
  if (subtrees_.empty()) {
    return sha256(std::string_view());
  }
  Digest root = subtrees_.back();
  for (std::size_t i = subtrees_.size() - 1; i > 0; --i) {
    root = merkle_node_hash(subtrees_[i - 1], root);
  }
  return root;
}

}  // namespace soup
