// Ed25519: the vectors of RFC 8032, keys as openssl writes them, and every file that is no such key.
#include "core/signature.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

template <std::size_t size>
std::array<std::uint8_t, size> from_hex(const std::string& hex) {
  std::array<std::uint8_t, size> bytes{};
  EXPECT_EQ(hex.size(), 2 * size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes.at(i) = static_cast<std::uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// Made by openssl 3: genpkey -algorithm ed25519, pkey -pubout; genpkey -algorithm EC; pkey -aes128.
constexpr const char* private_pem =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIL5rkmTKmZ7c2tR2fVU1O5S9pwAZESwCnVp+Iyn9q0wu\n"
    "-----END PRIVATE KEY-----\n";
constexpr const char* public_pem =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAdH+KC1mr77lgx1LL9JszSH7uWQ7HZehRzELMMZGgag4=\n"
    "-----END PUBLIC KEY-----\n";
constexpr const char* elliptic_pem =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWPytQfBKMtWxhjVS\n"
    "LfbiWSSMfjki0mrG/xdgVeM+SD6hRANCAATPRhCvfVNb4Q2B/U+EkRjW0wNJUWR2\n"
    "TwJQ5mnwK8dTdR8xgX9g6w6qnBPhu0ZF1DhJGYxFPNOoC5qh/G+3trFO\n"
    "-----END PRIVATE KEY-----\n";
constexpr const char* elliptic_public_pem =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEz0YQr31TW+ENgf1PhJEY1tMDSVFk\n"
    "dk8CUOZp8CvHU3UfMYF/YOsOqpwT4btGRdQ4SRmMRTzTqAuaofxvt7axTg==\n"
    "-----END PUBLIC KEY-----\n";
constexpr const char* encrypted_pem =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiz9aJu3tiUlwICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEAQIEEFQ9ouVQBeOWkmeqQMa0UdoEQLbF\n"
    "XBcfQWBhcYyl7cJwaRX8hBZuEvB5dBm9/DPsXJQeppdaIKIjcMLS8zc1L6ewYVTw\n"
    "rG1CgdqTPnZSRaN2YcQ=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";
// The bytes that `openssl pkey -text` prints of the first two.
constexpr const char* secret_hex = "be6b9264ca999edcdad4767d55353b94bda70019112c029d5a7e2329fdab4c2e";
constexpr const char* public_hex = "747f8a0b59abefb960c752cbf49b33487eee590ec765e851cc42cc3191a06a0e";

// openssl pkey -pubin -outform DER | tail -c 32 | sha256sum
constexpr const char* fingerprint_hex = "e11e3c74ac8fed57985fd255a8674120667050663922e15ecfd028a113b4b32b";

struct Vector {
  const char* secret;
  const char* public_key;
  std::string message;
  const char* signature;
};

// RFC 8032 section 7.1, tests 1 to 3.
std::vector<Vector> rfc_vectors() {
  return {{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
           "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
           "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
           "d25bf5f0595bbe24655141438e7a100b"},
          {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
           "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "\x72",
           "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
           "387b2eaeb4302aeeb00d291612bb0c00"},
          {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
           "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "\xaf\x82",
           "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
           "4a7c15e9716ed28dc027beceea1ec40a"}};
}

TEST(Ed25519, VectorsOfRfc8032) {
  for (const Vector& vector : rfc_vectors()) {
    const SigningKey key(from_hex<32>(vector.secret));
    const PublicKey public_key{from_hex<32>(vector.public_key)};
    const Signature signature{from_hex<64>(vector.signature)};
    EXPECT_EQ(key.public_key(), public_key);
    EXPECT_EQ(key.sign(bytes_of(vector.message)), signature);
    EXPECT_TRUE(is_signature_of(signature, bytes_of(vector.message), public_key));
    EXPECT_FALSE(is_signature_of(signature, bytes_of(vector.message + "x"), public_key));
    for (std::size_t bit = 0; bit < 8 * signature.bytes.size(); ++bit) {
      Signature changed = signature;
      changed.bytes.at(bit / 8) ^= static_cast<std::uint8_t>(1U << bit % 8);
      EXPECT_FALSE(is_signature_of(changed, bytes_of(vector.message), public_key)) << bit;
    }
  }
}

TEST(Ed25519, ASignatureIsOfOneKeyAndNoPointIsNoKey) {
  const std::vector<Vector> vectors = rfc_vectors();
  const Signature signature{from_hex<64>(vectors[0].signature)};
  EXPECT_FALSE(is_signature_of(signature, {}, {from_hex<32>(vectors[1].public_key)}));
  PublicKey none;
  none.bytes.fill(0xff);
  EXPECT_FALSE(is_signature_of(signature, {}, none));
}

class KeyFileTest : public testing::Test {
 protected:
  fs::path write(const std::string& text) {
    const fs::path path = folder_ / "key.pem";
    write_file_atomically(path, text);
    return path;
  }
  std::string private_refusal(const std::string& text) {
    try {
      SigningKey::read(write(text));
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  std::string public_refusal(const std::string& text) {
    try {
      read_public_key(write(text));
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  test::TemporaryFolder folder_;
};

TEST_F(KeyFileTest, ReadsWhatOpensslWrites) {
  const SigningKey key = SigningKey::read(write(private_pem));
  EXPECT_EQ(key.public_key().bytes, from_hex<32>(public_hex));
  EXPECT_EQ(SigningKey(from_hex<32>(secret_hex)).public_key(), key.public_key());
  EXPECT_EQ(read_public_key(write(public_pem)), key.public_key());
  EXPECT_EQ(key.public_key().fingerprint(), Digest::from_hex(fingerprint_hex));
}

TEST_F(KeyFileTest, RefusesEveryOtherFile) {
  EXPECT_THAT(private_refusal(encrypted_pem), AllOf(HasSubstr("key.pem"), HasSubstr("encrypted")));
  EXPECT_THAT(private_refusal(public_pem), HasSubstr("only a private key can sign"));
  EXPECT_THAT(private_refusal(elliptic_pem), AllOf(HasSubstr("type EC, not Ed25519"), HasSubstr("genpkey")));
  EXPECT_THAT(public_refusal(private_pem), AllOf(HasSubstr("a private key"), HasSubstr("-pubout")));
  EXPECT_THAT(public_refusal(encrypted_pem), HasSubstr("a private key"));
  EXPECT_THAT(public_refusal(elliptic_public_pem), HasSubstr("type EC, not Ed25519"));
  const std::string whole = private_pem;
  for (const std::string& text : {std::string(), std::string("key"), whole.substr(0, whole.size() / 2)}) {
    EXPECT_THAT(private_refusal(text), HasSubstr("no key in PEM form")) << text;
    EXPECT_THAT(public_refusal("x" + text.substr(0, 3)), HasSubstr("no key in PEM form")) << text;
  }
  EXPECT_THROW(SigningKey::read(folder_ / "none.pem"), DataError);
  EXPECT_THROW(read_public_key(folder_ / "none.pem"), DataError);
  EXPECT_THROW(SigningKey::read(folder_.path()), DataError);
}

TEST_F(KeyFileTest, NoticesWhoMayReadIt) {
  const fs::path path = write(private_pem);
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_FALSE(is_readable_by_others(path));
  fs::permissions(path, fs::perms::group_read, fs::perm_options::add);
  EXPECT_TRUE(is_readable_by_others(path));
  fs::permissions(path, fs::perms::owner_read | fs::perms::others_read);
  EXPECT_TRUE(is_readable_by_others(path));
  EXPECT_THROW(static_cast<void>(is_readable_by_others(folder_ / "none.pem")), DataError);
}

}  // namespace
}  // namespace soup
