// A damaged shard file is an error or, where only pixels changed, found by verify(): never a crash.
#include <gtest/gtest.h>

#include "core/random.hpp"
#include "data/shard_seal.hpp"
#include "tests/data/samples.hpp"

namespace soup {
namespace {

class ShardDamage : public testing::Test {
 protected:
  ShardDamage() {
    test::write_noise_shard(path_, 12);
    whole_ = test::read_bytes(path_);
    const ShardSeal seal = check_seal(path_);
    pixels_begin_ = seal.blocks[0].offset;
    pixels_end_ = seal.blocks[0].offset + seal.blocks[0].bytes;
  }
  // Whether opening or, failing that, verifying reports the damage.
  bool found(const std::string& bytes, bool* opened) {
    test::write_text(path_, bytes);
    *opened = false;
    try {
      const ShardFile file(path_);
      *opened = true;
      file.verify();
    } catch (const DataError&) {
      return true;
    }
    return false;
  }
  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "north.h5";
  std::string whole_;
  std::uint64_t pixels_begin_ = 0;
  std::uint64_t pixels_end_ = 0;
};

TEST_F(ShardDamage, EveryByteFlipIsFound) {
  RandomStream stream = SeedTree(1).stream("damage", "", 0);
  for (int round = 0; round < 1500; ++round) {
    std::string bytes = whole_;
    // The first kilobyte (seal, superblock, root group) once whole, then anywhere.
    const std::uint64_t place = round < 1024 ? static_cast<std::uint64_t>(round) : stream.below(bytes.size());
    bytes[place] = static_cast<char>(bytes[place] ^ static_cast<char>(1 + stream.below(255)));
    bool opened = false;
    ASSERT_TRUE(found(bytes, &opened)) << "byte " << place << ", round " << round;
    ASSERT_EQ(opened, place >= pixels_begin_ && place < pixels_end_) << "byte " << place << ", round " << round;
  }
}

TEST_F(ShardDamage, EveryTruncationIsFound) {
  RandomStream stream = SeedTree(2).stream("damage", "", 0);
  for (int round = 0; round < 200; ++round) {
    bool opened = false;
    ASSERT_TRUE(found(whole_.substr(0, stream.below(whole_.size())), &opened));
    ASSERT_FALSE(opened);
  }
}

TEST_F(ShardDamage, ManyChangesAtOnceAreFound) {
  RandomStream stream = SeedTree(3).stream("damage", "", 0);
  for (int round = 0; round < 200; ++round) {
    std::string bytes = whole_;
    const std::uint64_t begin = stream.below(bytes.size());
    const std::uint64_t end = begin + 1 + stream.below(bytes.size() - begin);
    for (std::uint64_t place = begin; place < end; ++place) {
      bytes[place] = static_cast<char>(stream.below(256));
    }
    bool opened = false;
    ASSERT_EQ(found(bytes, &opened), bytes != whole_);
  }
}

// Strings and records damaged and sealed again: what only a hand-made file can have. The reader may take it or refuse
// it with a DataError; places are those of strings' bytes, since HDF5's own structures are the library's to check.
TEST_F(ShardDamage, DamagedTextUnderAGoodSealIsNoCrash) {
  RandomStream stream = SeedTree(4).stream("damage", "", 0);
  const std::string word = "apps word";
  std::vector<std::size_t> places;
  for (std::size_t at = whole_.find(word); at != std::string::npos; at = whole_.find(word, at + 1)) {
    places.push_back(at);
  }
  ASSERT_EQ(places.size(), 12U);
  ShardSeal seal = check_seal(path_);
  int refused = 0;
  for (int round = 0; round < 200; ++round) {
    std::string bytes = whole_;
    bytes[places[stream.below(12)] + stream.below(word.size())] = static_cast<char>(stream.below(256));
    test::write_text(path_, bytes);
    seal.rest = digest_without_blocks(path_, seal);
    write_seal(path_, seal);
    try {
      const ShardFile file(path_);
      file.verify();
      ASSERT_EQ(bytes, whole_);
    } catch (const DataError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 150);
}

}  // namespace
}  // namespace soup
