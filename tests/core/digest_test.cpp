// SHA-256 and Merkle trees against published vectors (FIPS 180-4 examples; RFC 6962 trees of Certificate Transparency).
#include "core/digest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

constexpr std::string_view digest_of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::string_view digest_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr std::string_view digest_of_million_a = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256("").hex(), digest_of_nothing);
  EXPECT_EQ(sha256("abc").hex(), digest_of_abc);
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").hex(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(std::string(1'000'000, 'a')).hex(), digest_of_million_a);
}

TEST(Sha256, PiecesGiveTheDigestOfTheWhole) {
  for (const std::size_t piece : {1, 63, 64, 65, 1000}) {
    Sha256 sha;
    for (std::size_t done = 0; done < 10'000; done += piece) {
      sha.update(std::string(std::min<std::size_t>(piece, 10'000 - done), 'a'));
    }
    EXPECT_EQ(sha.finish(), sha256(std::string(10'000, 'a'))) << "pieces of " << piece;
  }
}

TEST(Sha256, FieldsHaveOneReading) {
  const auto digest = [](std::string_view a, std::string_view b) {
    return Sha256().update_field(a).update_field(b).finish();
  };
  EXPECT_NE(digest("ab", "c"), digest("a", "bc"));
  EXPECT_NE(digest("", "abc"), digest("abc", ""));
  EXPECT_EQ(Sha256().update_field("abc").finish(), sha256(std::string("\x03\0\0\0\0\0\0\0abc", 11)));
}

TEST(Sha256, NumbersAreLittleEndian) {
  EXPECT_EQ(Sha256().update_u64(0x0102030405060708).finish(), sha256("\x08\x07\x06\x05\x04\x03\x02\x01"));
}

TEST(Sha256, UseAfterTheEndIsAnError) {
  Sha256 sha;
  sha.finish();
  EXPECT_THROW(sha.update("x"), InvariantError);
  EXPECT_THROW(sha.finish(), InvariantError);
}

TEST(Sha256, FilesOfSeveralBlocks) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string(1'000'000, 'a'));
  EXPECT_EQ(sha256_file(folder / "a").hex(), digest_of_million_a);
  const std::string large((std::size_t{2} << 20) + 17, 'b');
  write_file_atomically(folder / "b", large);
  EXPECT_EQ(sha256_file(folder / "b"), sha256(large));
  EXPECT_THROW(sha256_file(folder / "missing"), DataError);
  EXPECT_THROW(sha256_file(folder.path()), DataError);
}

TEST(Digest, HexBothWays) {
  const Digest abc = sha256("abc");
  EXPECT_EQ(Digest::from_hex(digest_of_abc), abc);
  EXPECT_EQ(Digest::from_hex("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"), abc);
  EXPECT_EQ(abc.brief(), "ba7816bf8f01");
}

TEST(Digest, WrongHexIsRefused) {
  const std::string abc(digest_of_abc);
  EXPECT_THROW(Digest::from_hex(""), ConfigError);
  EXPECT_THROW(Digest::from_hex(abc.substr(1)), ConfigError);
  EXPECT_THROW(Digest::from_hex(abc + "0"), ConfigError);
  EXPECT_THROW(Digest::from_hex("g" + abc.substr(1)), ConfigError);
  EXPECT_THROW(Digest::from_hex(abc.substr(1) + " "), ConfigError);
}

std::vector<std::byte> unhex(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

TEST(Merkle, CertificateTransparencyVectors) {
  const std::vector<std::string_view> leaves = {
      "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
  const std::vector<std::string_view> roots = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                               "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                               "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                               "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                               "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                               "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                               "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                               "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  std::vector<Digest> hashes;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    hashes.push_back(merkle_leaf_hash(unhex(leaves[i])));
    EXPECT_EQ(merkle_root_of_leaf_hashes(hashes).hex(), roots[i]) << "tree of " << i + 1;
  }
}

TEST(Merkle, LeafByLeafGivesTheSameRoot) {
  MerkleTree tree;
  std::vector<Digest> leaves;
  EXPECT_EQ(tree.root(), merkle_root(leaves));
  for (int i = 0; i < 70; ++i) {
    leaves.push_back(sha256(std::to_string(i)));
    tree.add(leaves.back());
    ASSERT_EQ(tree.root(), merkle_root(leaves)) << i;
  }
}

TEST(Sha256, AForkGoesOnByItself) {
  Sha256 first;
  first.update("ab");
  Sha256 second = first.fork();
  second.update("c");
  EXPECT_EQ(first.finish(), sha256("ab"));
  EXPECT_EQ(second.finish(), sha256("abc"));
  EXPECT_THROW(static_cast<void>(first.fork()), InvariantError);
}

TEST(Merkle, EmptyTreeIsTheDigestOfNothing) {
  EXPECT_EQ(merkle_root({}).hex(), digest_of_nothing);
}

TEST(Merkle, LeavesAreDigestBytes) {
  const std::vector<Digest> one = {sha256("abc")};
  EXPECT_EQ(merkle_root(one), sha256(std::string(1, '\0') + std::string(one[0].bytes.begin(), one[0].bytes.end())));
}

TEST(Merkle, RootChangesWithOrderCountAndContent) {
  const Digest a = sha256("a");
  const Digest b = sha256("b");
  const Digest root = merkle_root(std::vector{a, b, a});
  EXPECT_NE(root, merkle_root(std::vector{b, a, a}));
  EXPECT_NE(root, merkle_root(std::vector{a, b}));
  EXPECT_NE(root, merkle_root(std::vector{a, b, a, a}));
  // Without the prefixes a tree of two would equal a leaf made of both hashes.
  EXPECT_NE(merkle_root(std::vector{a, b}), a);
}

}  // namespace
}  // namespace soup
