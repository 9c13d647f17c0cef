// Random streams: Random123's known answers, independence of order, unbiased integers, moments of normals.
#include "core/random.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <set>
#include <vector>

#include "core/digest.hpp"
#include "core/error.hpp"

namespace soup {
namespace {

using Block = std::array<std::uint32_t, 4>;

TEST(Philox, KnownAnswersOfRandom123) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, WordsAreTheBlocksOfItsKeyAndCounter) {
  RandomStream stream(0xa4093822'299f31d0, 0x03707344'13198a2e);
  for (std::uint32_t block = 0; block < 3; ++block) {
    for (const std::uint32_t word : philox4x32({block, 0, 0x13198a2e, 0x03707344}, {0x299f31d0, 0xa4093822})) {
      EXPECT_EQ(stream.next_u32(), word);
    }
  }
}

TEST(RandomStream, WideNumbersTakeTheLowWordFirst) {
  RandomStream words(1, 2);
  const std::uint64_t low = words.next_u32();
  const std::uint64_t high = words.next_u32();
  EXPECT_EQ(RandomStream(1, 2).next_u64(), high << 32U | low);
  EXPECT_EQ(RandomStream(1, 2).uniform(), std::ldexp(static_cast<double>((high << 32U | low) >> 11U), -53));
}

TEST(SeedTree, StreamsDoNotDependOnOrder) {
  const SeedTree seeds(17);
  std::vector<std::uint64_t> forwards;
  for (std::uint64_t image = 0; image < 100; ++image) {
    RandomStream stream = seeds.stream("noise", "tango", image);
    forwards.push_back(stream.next_u64());
  }
  for (std::uint64_t image = 100; image-- > 0;) {
    RandomStream other = seeds.stream("timestep", "tango", image);
    other.next_u64();
    RandomStream stream = SeedTree(17).stream("noise", "tango", image);
    EXPECT_EQ(stream.next_u64(), forwards[image]);
  }
}

TEST(SeedTree, EveryPartOfTheNameMatters) {
  std::set<std::uint64_t> first_words;
  for (const std::uint64_t root : {1, 2}) {
    for (const std::string_view purpose : {"noise", "order", "a", "ab"}) {
      for (const std::string_view scope : {"", "b", "bc", "c"}) {
        for (const std::uint64_t counter : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32U}) {
          RandomStream stream = SeedTree(root).stream(purpose, scope, counter);
          first_words.insert(stream.next_u64());
        }
      }
    }
  }
  EXPECT_EQ(first_words.size(), 2 * 4 * 4 * 3);
}

TEST(RandomStream, UniformFillsTheUnitIntervalEvenly) {
  RandomStream stream = SeedTree(1).stream("test", "uniform", 0);
  constexpr int count = 100'000;
  std::array<int, 10> bins{};
  for (int i = 0; i < count; ++i) {
    const double value = stream.uniform();
    ASSERT_GE(value, 0.0);
    ASSERT_LT(value, 1.0);
    ++bins[static_cast<std::size_t>(value * 10)];
  }
  // A bin's count has standard deviation sqrt(n p (1 - p)) = 95; five of them.
  for (const int bin : bins) {
    EXPECT_NEAR(bin, count / 10, 475);
  }
}

TEST(RandomStream, BelowIsEvenForSmallAndHugeBounds) {
  RandomStream stream = SeedTree(1).stream("test", "below", 0);
  std::array<int, 7> bins{};
  for (int i = 0; i < 70'000; ++i) {
    ++bins.at(stream.below(7));
  }
  for (const int bin : bins) {
    EXPECT_NEAR(bin, 10'000, 465);  // 5 standard deviations
  }
  // With this bound a quarter of the draws must be rejected: taken modulo, the lower half would be twice as likely.
  const std::uint64_t bound = (std::uint64_t{3} << 62U);
  int lower_third = 0;
  for (int i = 0; i < 30'000; ++i) {
    const std::uint64_t value = stream.below(bound);
    ASSERT_LT(value, bound);
    lower_third += value < bound / 3 ? 1 : 0;
  }
  EXPECT_NEAR(lower_third, 10'000, 410);
  EXPECT_EQ(stream.below(1), 0);
  EXPECT_THROW(stream.below(0), InvariantError);
}

// Mean, variance, skewness and kurtosis of n standard normals lie within 5 standard errors of 0, 1, 0, 3.
void expect_standard_normal(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  std::array<double, 4> moments{};
  for (const double value : values) {
    double power = 1.0;
    for (double& moment : moments) {
      power *= value;
      moment += power / n;
    }
  }
  EXPECT_NEAR(moments[0], 0.0, 5 * std::sqrt(1 / n));
  EXPECT_NEAR(moments[1], 1.0, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(moments[2], 0.0, 5 * std::sqrt(15 / n));
  EXPECT_NEAR(moments[3], 3.0, 5 * std::sqrt(96 / n));
}

// Largest distance to the normal distribution function (Kolmogorov-Smirnov), times sqrt(n).
double distance_to_normal(std::vector<double> values) {
  std::ranges::sort(values);
  const auto n = static_cast<double>(values.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double expected = 0.5 * std::erfc(-values[i] / std::numbers::sqrt2);
    largest = std::max({largest, std::abs(expected - static_cast<double>(i) / n),
                        std::abs(expected - static_cast<double>(i + 1) / n)});
  }
  return largest * std::sqrt(n);
}

TEST(RandomStream, NormalHasTheNormalDistribution) {
  RandomStream stream = SeedTree(1).stream("test", "normal", 0);
  std::vector<double> values(100'000);
  std::ranges::generate(values, [&] { return stream.normal(); });
  expect_standard_normal(values);
  EXPECT_LT(distance_to_normal(values), 2.0);  // exceeded by chance once in 1,500 streams; this one is fixed
}

TEST(RandomStream, FillNormalHasTheNormalDistribution) {
  RandomStream stream = SeedTree(1).stream("test", "fill_normal", 0);
  std::vector<float> values(100'000);
  stream.fill_normal(values);
  expect_standard_normal({values.begin(), values.end()});
  EXPECT_LT(distance_to_normal({values.begin(), values.end()}), 2.0);
}

// Box-Muller of the stream's words in double: the oracle for the fast version, which pairs words 0 and 1, 2 and 3.
TEST(RandomStream, FillNormalIsBoxMullerOfTheWords) {
  std::vector<float> values(1000);
  RandomStream(5, 9).fill_normal(values);
  RandomStream words(5, 9);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const double u = (static_cast<double>(words.next_u32() >> 8U) + 0.5) * 0x1p-24;
    const double angle = 2.0 * std::numbers::pi * static_cast<double>(words.next_u32()) * 0x1p-32;
    const double radius = std::sqrt(-2.0 * std::log(u));
    // Float arithmetic of about ten roundings on values below 6.
    EXPECT_NEAR(values[i], radius * std::cos(angle), 4e-6);
    EXPECT_NEAR(values[i + 1], radius * std::sin(angle), 4e-6);
  }
}

TEST(RandomStream, FillNormalOfAPrefixIsThePrefix) {
  std::vector<float> whole(1000);
  RandomStream(3, 4).fill_normal(whole);
  for (const std::size_t count : {1, 3, 4, 255, 256, 257, 999}) {
    std::vector<float> part(count);
    RandomStream(3, 4).fill_normal(part);
    EXPECT_TRUE(std::ranges::equal(part, std::span(whole).first(count))) << count;
  }
}

TEST(RandomStream, FillNormalGoesOnWhereItStopped) {
  std::vector<float> whole(1024);
  RandomStream(3, 4).fill_normal(whole);
  std::vector<float> parts(1024);
  RandomStream stream(3, 4);
  stream.fill_normal(std::span(parts).first(300));
  stream.fill_normal(std::span(parts).subspan(300));
  EXPECT_EQ(whole, parts);
}

// The bits are a promise: checkpoints resume and runs repeat on other processors. The value was computed without vector
// instructions and without fused multiply-add; the test meets whatever this processor has.
TEST(RandomStream, FillNormalHasTheSameBitsOnEveryProcessor) {
  std::vector<float> values(1 << 16);
  RandomStream(0x0123456789abcdef, 42).fill_normal(values);
  EXPECT_EQ(sha256(std::as_bytes(std::span(values))).hex(),
            "ed98c07e5f0c0e7a6d49e1aee4a23f3f9e1f1350f35eee281d9b0a63d3000a07");
}

}  // namespace
}  // namespace soup
