// Ed25519 signatures (RFC 8032) through OpenSSL.
#include "core/signature.hpp"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup {

namespace {

namespace fs = std::filesystem;

// A key file has about 120 bytes; the largest RSA keys below 16 KiB.
constexpr std::uintmax_t most_key_bytes = 64U << 10U;

template <auto free_it>
struct FreeBy {
  template <typename Handle>
  void operator()(Handle* handle) const {
    free_it(handle);
  }
};
using KeyHandle = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using BioHandle = std::unique_ptr<BIO, FreeBy<BIO_free_all>>;
using SignContext = std::unique_ptr<EVP_MD_CTX, FreeBy<EVP_MD_CTX_free>>;

// A file's text, wiped from memory at the end: it may hold a secret.
class SecretText {
 public:
  explicit SecretText(const fs::path& path) : text_(read_file(path, most_key_bytes)) {}
  ~SecretText() { OPENSSL_cleanse(text_.data(), text_.size()); }
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;

  [[nodiscard]] bool holds(std::string_view words) const { return text_.find(words) != std::string::npos; }
  [[nodiscard]] BioHandle open() const {
    BioHandle bio(BIO_new_mem_buf(text_.data(), static_cast<int>(text_.size())));
    SOUP_REQUIRE(bio != nullptr, "OpenSSL has no memory");
    return bio;
  }

 private:
  std::string text_;
};

constexpr const char* make_key_hint = "openssl genpkey -algorithm ed25519 -out key.pem makes one";
constexpr const char* public_key_hint = "openssl pkey -in key.pem -pubout -out public.pem writes the public key";

void require_ed25519(const EVP_PKEY* key, const fs::path& path) {
  ERR_clear_error();
  if (key == nullptr) {
    throw DataError(path, "holds no key in PEM form that OpenSSL can read", make_key_hint);
  }
  if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
    const char* name = EVP_PKEY_get0_type_name(key);
    throw DataError(path, std::string("holds a key of type ") + (name == nullptr ? "unknown" : name) + ", not Ed25519",
                    make_key_hint);
  }
}

PublicKey raw_public_key(const EVP_PKEY* key) {
  PublicKey raw;
  std::size_t size = raw.bytes.size();
  SOUP_REQUIRE(EVP_PKEY_get_raw_public_key(key, raw.bytes.data(), &size) == 1 && size == raw.bytes.size(),
               "OpenSSL could not give an Ed25519 public key");
  return raw;
}

const unsigned char* as_unsigned(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

}  // namespace

struct SigningKey::Key {
  KeyHandle handle;
};

Digest PublicKey::fingerprint() const {
  return sha256(std::as_bytes(std::span(bytes)));
}

SigningKey::SigningKey(std::span<const std::uint8_t, 32> secret) {
  KeyHandle handle(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, secret.data(), secret.size()));
  SOUP_REQUIRE(handle != nullptr, "OpenSSL could not take an Ed25519 private key");
  key_ = std::make_shared<const Key>(Key{std::move(handle)});
}

SigningKey SigningKey::read(const fs::path& path) {
  const SecretText text(path);
  if (text.holds("BEGIN ENCRYPTED") || text.holds(",ENCRYPTED")) {
    throw DataError(path, "holds an encrypted private key, and passwords are not asked for",
                    "openssl pkey -in " + path.string() + " -out plain.pem decrypts it; keep that file to yourself");
  }
  if (text.holds("BEGIN PUBLIC KEY")) {
    throw DataError(path, "holds a public key, but only a private key can sign", make_key_hint);
  }
  // No password is asked for on the terminal, whatever the file says.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  KeyHandle handle(PEM_read_bio_PrivateKey(text.open().get(), nullptr, no_password, nullptr));
  require_ed25519(handle.get(), path);
  return SigningKey(std::make_shared<const Key>(Key{std::move(handle)}));
}

Signature SigningKey::sign(std::span<const std::byte> message) const {
  const SignContext context(EVP_MD_CTX_new());
  Signature signature;
  std::size_t size = signature.bytes.size();
  SOUP_REQUIRE(
      context != nullptr && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_->handle.get()) == 1 &&
          EVP_DigestSign(context.get(), signature.bytes.data(), &size, as_unsigned(message), message.size()) == 1 &&
          size == signature.bytes.size(),
      "OpenSSL could not sign");
  return signature;
}

PublicKey SigningKey::public_key() const {
  return raw_public_key(key_->handle.get());
}

PublicKey read_public_key(const fs::path& path) {
  const SecretText text(path);  // it may be the wrong file
  if (text.holds("PRIVATE KEY")) {
    throw DataError(path, "holds a private key, where the public key is asked for", public_key_hint);
  }
  const KeyHandle handle(PEM_read_bio_PUBKEY(text.open().get(), nullptr, nullptr, nullptr));
  require_ed25519(handle.get(), path);
  return raw_public_key(handle.get());
}

bool is_signature_of(const Signature& signature, std::span<const std::byte> message, const PublicKey& key) {
  const KeyHandle handle(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.bytes.data(), key.bytes.size()));
  const SignContext context(EVP_MD_CTX_new());
  SOUP_REQUIRE(handle != nullptr && context != nullptr &&
                   EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, handle.get()) == 1,
               "OpenSSL could not take an Ed25519 public key");
  const int good = EVP_DigestVerify(context.get(), signature.bytes.data(), signature.bytes.size(), as_unsigned(message),
                                    message.size());
  ERR_clear_error();
  return good == 1;
}

bool is_readable_by_others(const fs::path& path) {
  std::error_code error;
  const fs::perms permissions = fs::status(path, error).permissions();
  if (error) {
    throw DataError(path, "its permissions cannot be read: " + error.message());
  }
  return (permissions & (fs::perms::group_read | fs::perms::others_read)) != fs::perms::none;
}

}  // namespace soup
