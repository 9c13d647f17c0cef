// Held-out keys and training sets.
#include "data/split.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/data/samples.hpp"

namespace soup {
namespace {

std::string key_of(int i) {
  return "word" + std::to_string(i);
}

TEST(HeldOut, HoldsOutTheFractionAsked) {
  for (const double fraction : {0.1, 0.5}) {
    int held_out = 0;
    for (int i = 0; i < 20000; ++i) {
      held_out += HeldOut{fraction, 7}.contains(key_of(i)) ? 1 : 0;
    }
    // Standard deviation of the binomial at most 71; the bound is five of them.
    EXPECT_NEAR(held_out, 20000 * fraction, 355);
  }
}

TEST(HeldOut, NoneAndAll) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE((HeldOut{0.0, 1}.contains(key_of(i))));
    EXPECT_TRUE((HeldOut{1.0, 1}.contains(key_of(i))));
  }
}

TEST(HeldOut, LargerFractionsContainSmallerOnesAndSeedsDiffer) {
  int differ = 0;
  for (int i = 0; i < 1000; ++i) {
    if (HeldOut{0.1, 1}.contains(key_of(i))) {
      EXPECT_TRUE((HeldOut{0.3, 1}.contains(key_of(i)))) << key_of(i);
    }
    differ += HeldOut{0.3, 1}.contains(key_of(i)) != HeldOut{0.3, 2}.contains(key_of(i)) ? 1 : 0;
  }
  EXPECT_GT(differ, 200);
}

TEST(HeldOut, IsFixedForever) {
  // Independent oracle: python3 -c "import hashlib, struct; print(hashlib.sha256(b'soup held-out keys' +
  // struct.pack('<Q', 3) + struct.pack('<Q', 6) + b'folder').hexdigest()[:16])", as a fraction of 2^64.
  constexpr double folder = 0.618289563169577;
  EXPECT_FALSE((HeldOut{folder - 1e-9, 3}.contains("folder")));
  EXPECT_TRUE((HeldOut{folder + 1e-9, 3}.contains("folder")));
}

class TwoShards : public testing::Test {
 protected:
  TwoShards() {
    for (const bool south : {false, true}) {
      ShardWriter writer(path(south), test::origin, 4, 4, 3);
      for (int i = 0; i < 60; ++i) {
        // The same keys in both, in another order and with other captions and pixels.
        const std::string key = key_of(south ? 59 - i : i);
        writer.append(
            test::sample(test::noise_image(4, 4, 3, 100 * south + i), (south ? "apps " : "places ") + key, key));
      }
      writer.finish();
    }
  }
  [[nodiscard]] std::filesystem::path path(bool south) const { return folder_.path() / (south ? "s.h5" : "n.h5"); }

  test::TemporaryFolder folder_;
  HeldOut held_out_{0.3, 11};
};

TEST_F(TwoShards, DecideAlikeByKey) {
  const ShardFile north(path(false));
  const ShardFile south(path(true));
  std::set<std::string> north_keys;
  std::set<std::string> south_keys;
  for (const std::uint64_t i : held_out_set(north, held_out_)) {
    north_keys.emplace(north.key(i));
  }
  for (const std::uint64_t i : held_out_set(south, held_out_)) {
    south_keys.emplace(south.key(i));
  }
  EXPECT_EQ(north_keys, south_keys);
  EXPECT_GT(north_keys.size(), 5U);
  EXPECT_LT(north_keys.size(), 35U);
}

TEST_F(TwoShards, TrainingAndHeldOutSetsPartitionTheShard) {
  const ShardFile north(path(false));
  const TrainingSet training = training_set(north, held_out_, {});
  const auto held_out = held_out_set(north, held_out_);
  std::set<std::uint64_t> all(training.images.begin(), training.images.end());
  all.insert(held_out.begin(), held_out.end());
  EXPECT_EQ(all.size(), 60U);
  EXPECT_EQ(training.images.size() + held_out.size(), 60U);
  EXPECT_TRUE(std::is_sorted(training.images.begin(), training.images.end()));
}

TEST_F(TwoShards, DroppedImagesAreNeitherTrainedOnNorInTheDigest) {
  const ShardFile north(path(false));
  const TrainingSet whole = training_set(north, held_out_, {});
  const std::uint64_t dropped = whole.images[3];
  const TrainingSet without = training_set(north, held_out_, {dropped});
  EXPECT_EQ(without.images.size(), whole.images.size() - 1);
  EXPECT_EQ(std::count(without.images.begin(), without.images.end(), dropped), 0);
  EXPECT_NE(without.digest, whole.digest);
  std::vector<Digest> digests;
  for (const std::uint64_t i : without.images) {
    digests.push_back(north.digest(i));
  }
  EXPECT_EQ(without.digest, merkle_root(digests));
  EXPECT_THROW(training_set(north, held_out_, {60}), InvariantError);
}

TEST_F(TwoShards, NothingHeldOutHasTheRootOfTheFile) {
  const ShardFile north(path(false));
  EXPECT_EQ(training_set(north, {0.0, 0}, {}).digest, north.root());
}

}  // namespace
}  // namespace soup
