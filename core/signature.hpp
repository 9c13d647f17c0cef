// Ed25519 signatures (RFC 8032) with keys in the PEM files that `openssl genpkey -algorithm ed25519` writes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "core/digest.hpp"

namespace soup {

struct PublicKey {
  std::array<std::uint8_t, 32> bytes{};

  // SHA-256 of the 32 bytes.
  [[nodiscard]] Digest fingerprint() const;
  auto operator<=>(const PublicKey&) const = default;
};

struct Signature {
  std::array<std::uint8_t, 64> bytes{};

  auto operator<=>(const Signature&) const = default;
};

class SigningKey {
 public:
  // The 32 bytes that RFC 8032 calls the private key.
  explicit SigningKey(std::span<const std::uint8_t, 32> secret);
  // A PKCS#8 file ("BEGIN PRIVATE KEY"). Throws DataError: missing, encrypted, a public key, of another algorithm.
  static SigningKey read(const std::filesystem::path& path);

  [[nodiscard]] Signature sign(std::span<const std::byte> message) const;
  [[nodiscard]] PublicKey public_key() const;

 private:
  struct Key;
  explicit SigningKey(std::shared_ptr<const Key> key) : key_(std::move(key)) {}
  std::shared_ptr<const Key> key_;
};

// A SubjectPublicKeyInfo file ("BEGIN PUBLIC KEY"). Throws DataError: missing, a private key, of another algorithm.
PublicKey read_public_key(const std::filesystem::path& path);

// False for a public key that is no point of the curve, too.
[[nodiscard]] bool is_signature_of(const Signature& signature, std::span<const std::byte> message,
                                   const PublicKey& key);

// Whether the file's permissions let others than its owner read it. Throws DataError.
[[nodiscard]] bool is_readable_by_others(const std::filesystem::path& path);

}  // namespace soup
