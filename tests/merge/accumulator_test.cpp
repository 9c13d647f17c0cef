// Compact accumulators: what the weight leaves of the sum brings the sum back, at every size that fits.
#include "merge/accumulator.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/error.hpp"
#include "core/random.hpp"
#include "merge/fixed_point.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

// Of up to so many bits, both signs.
std::vector<std::int64_t> random_sums(std::uint64_t bits, std::uint64_t seed) {
  RandomStream stream(seed, 0);
  std::vector<std::int64_t> sums{0, 1, -1};
  while (sums.size() < 5000) {
    const auto magnitude = static_cast<std::int64_t>(stream.next_u64() >> (63 - stream.below(bits)) >> 1);
    sums.push_back(sums.size() % 2 == 0 ? magnitude : -magnitude);
  }
  return sums;
}

// A rest is at most half a weight's last place times N 2^S, the 2^-25th part of the sum: sums below 2^55 always fit.
TEST(CompactAccumulator, BringsBackEverySum) {
  for (const std::int64_t total : {1, 2, 3, 7, 64, 127, 128}) {
    for (const int scale_bits : {16, 44, 52}) {
      const std::vector<std::int64_t> sums = random_sums(55, static_cast<std::uint64_t>(total));
      std::vector<float> soup(sums.size());
      finish(sums, total, scale_bits, std::span<float>(soup));
      std::vector<std::int32_t> rests(sums.size());
      encode_rests(sums, soup, total, scale_bits, "w", 0, rests);
      std::vector<std::int64_t> back(sums.size());
      decode_rests(rests, soup, total, scale_bits, back);
      ASSERT_EQ(back, sums) << "total weight " << total << ", scale " << scale_bits;
    }
  }
}

TEST(CompactAccumulator, RefusesWhatDoesNotFitAndNamesIt) {
  // A third of 2^61 has no end in binary: what F32 leaves of it is near 2^-25 of it, more than 2^31.
  const std::vector<std::int64_t> sums{0, (std::int64_t{1} << 61) / 3};
  std::vector<float> soup(sums.size());
  finish(sums, 3, 44, std::span<float>(soup));
  std::vector<std::int32_t> rests(sums.size());
  try {
    encode_rests(sums, soup, 3, 44, "unet.conv", 7, rests);
    FAIL() << "rest " << rests[1] << " of " << sums[1];
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("unet.conv"), HasSubstr("element 8"), HasSubstr("wide")));
  }
}

TEST(AccumulatorKinds, AreNamedAndFallBackToWide) {
  for (const AccumulatorKind kind : {AccumulatorKind::none, AccumulatorKind::compact, AccumulatorKind::wide}) {
    EXPECT_EQ(accumulator_kind(name_of(kind)), kind);
  }
  EXPECT_THROW(accumulator_kind("tiny"), ConfigError);
  EXPECT_EQ(usable_kind(AccumulatorKind::compact, 128, true), AccumulatorKind::compact);
  EXPECT_EQ(usable_kind(AccumulatorKind::compact, 129, true), AccumulatorKind::wide);
  EXPECT_EQ(usable_kind(AccumulatorKind::compact, 2, false), AccumulatorKind::wide);
  EXPECT_EQ(usable_kind(AccumulatorKind::none, 129, false), AccumulatorKind::none);
}

}  // namespace
}  // namespace soup
