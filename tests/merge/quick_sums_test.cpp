// The quick way against the plain one: the same sums and weights to the bit, or nothing done.
#include "merge/quick_sums.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "core/error.hpp"
#include "core/random.hpp"
#include "merge/fixed_point.hpp"
#include "merge/float_formats.hpp"
#include "tests/merge/oracle.hpp"

namespace soup {
namespace {

constexpr std::int64_t before = 12345;

// Weights of one term in a type, and what they are as floats.
struct Term {
  std::vector<std::byte> bytes;
  std::vector<float> values;
};

Term term_of(DType dtype, const std::vector<float>& values) {
  Term term{std::vector<std::byte>(values.size() * size_of(dtype)), std::vector<float>(values.size())};
  encode(std::vector<double>(values.begin(), values.end()), dtype, term.bytes);
  decode(dtype, term.bytes, std::span<float>(term.values));
  return term;
}

class QuickSums : public testing::TestWithParam<DType> {};

TEST_P(QuickSums, AddsAsTermsOneByOneOrChangesNothing) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const std::size_t count : {2U, 4U}) {
    for (const float spoiler : {0.5F, 127.5F, 128.0F, -129.0F, infinity, -infinity, std::nanf("")}) {
      std::vector<Term> all;
      for (std::size_t i = 0; i < count; ++i) {
        std::vector<float> values = test::floats_below(6, 1001, 20 + i);
        if (i == 1) {
          values[700] = spoiler;
        }
        all.push_back(term_of(GetParam(), values));
      }
      const bool usual = std::abs(spoiler) < 128.0F;
      std::vector<std::int64_t> expected(1001, before);
      std::vector<std::span<const std::byte>> terms;
      for (const Term& term : all) {
        terms.emplace_back(term.bytes);
        if (usual) {
          accumulate(std::span<const float>(term.values), 1, 9, 44, "w", expected);
        }
      }
      std::vector<std::int64_t> sums(1001, before);
      std::vector<double> largest(count);
      EXPECT_EQ(accumulate_quickly(GetParam(), terms, 9, 44, sums, largest), usual) << spoiler;
      EXPECT_EQ(sums, expected) << spoiler;
      // Whatever is there counts as zero.
      std::vector<std::int64_t> fresh(sums.size(), 777);
      EXPECT_EQ(accumulate_quickly(GetParam(), terms, 9, 44, fresh, largest, true), usual) << spoiler;
      for (std::size_t i = 0; i < sums.size(); ++i) {
        ASSERT_EQ(fresh[i], expected[i] - before) << spoiler << " at " << i;
      }
      for (std::size_t i = 0; usual && i < count; ++i) {
        EXPECT_EQ(largest[i], largest_magnitude(std::span<const float>(all[i].values), "w"));
      }
    }
  }
}

TEST_P(QuickSums, AddAtEveryScale) {
  for (int scale_bits = 1; scale_bits <= 52; ++scale_bits) {
    const std::vector<float> values = test::floats_below(std::min(51 - scale_bits, 15), 501, 5);
    const Term term = term_of(GetParam(), values);
    std::vector<std::int64_t> expected(values.size(), before);
    accumulate(std::span<const float>(term.values), 1, 4, scale_bits, "w", expected);
    accumulate(std::span<const float>(term.values), 1, 4, scale_bits, "w", expected);
    std::vector<std::int64_t> sums(values.size(), before);
    std::vector<double> largest(2);
    const std::vector<std::span<const std::byte>> terms(2, term.bytes);
    // Rounding to 16 bits may have reached the limit.
    const bool usual = largest_magnitude(std::span<const float>(term.values), "w") < std::ldexp(1.0, 51 - scale_bits);
    ASSERT_EQ(accumulate_quickly(GetParam(), terms, 4, scale_bits, sums, largest), usual) << scale_bits;
    ASSERT_TRUE(!usual || sums == expected) << scale_bits;
  }
}

TEST_P(QuickSums, RefuseWhatCouldOverflowInSoLargeASoup) {
  const Term large = term_of(GetParam(), std::vector<float>(8, 100.0F));
  std::vector<std::int64_t> sums(8, 0);
  std::vector<double> largest(2);
  const std::vector<std::span<const std::byte>> terms(2, large.bytes);
  EXPECT_FALSE(accumulate_quickly(GetParam(), terms, std::int64_t{1} << 12, 44, sums, largest));
  EXPECT_THAT(sums, testing::Each(0));
}

// Sums of all sizes below 2^51, and total weights that are and are not powers of two.
TEST_P(QuickSums, FinishAsThePlainWayDoes) {
  RandomStream stream(17, 0);
  std::vector<std::int64_t> sums{0, 1, -1, (std::int64_t{1} << 51) - 1, -(std::int64_t{1} << 51)};
  while (sums.size() < 5000) {
    const auto magnitude = static_cast<std::int64_t>((stream.next_u64() >> 13) >> stream.below(51));
    sums.push_back(sums.size() % 2 == 0 ? magnitude : -magnitude);
  }
  for (const int scale_bits : {36, 44, 52}) {
    for (const std::int64_t total : {1, 2, 3, 7, 64, 1000, 1 << 20}) {
      std::vector<double> values(sums.size());
      finish(sums, total, scale_bits, std::span<double>(values));
      std::vector<std::byte> expected(sums.size() * size_of(GetParam()));
      encode(values, GetParam(), expected);
      std::vector<std::byte> found(expected.size());
      ASSERT_TRUE(finish_quickly(GetParam(), sums, total, scale_bits, found));
      ASSERT_EQ(found, expected) << "S " << scale_bits << ", N " << total;
    }
  }
}

TEST_P(QuickSums, FinishLeavesLargeSumsToOthers) {
  for (const std::int64_t large : {std::int64_t{1} << 51, -(std::int64_t{1} << 51) - 1, INT64_MAX, INT64_MIN}) {
    std::vector<std::int64_t> sums(1500, 1);
    sums[1400] = large;
    std::vector<std::byte> out(sums.size() * size_of(GetParam()));
    EXPECT_FALSE(finish_quickly(GetParam(), sums, 3, 44, out)) << large;
  }
}

std::string name_of_type(const testing::TestParamInfo<DType>& info) {
  return std::string(name_of(info.param));
}

INSTANTIATE_TEST_SUITE_P(Types, QuickSums, testing::Values(DType::f32, DType::f16, DType::bf16), name_of_type);

TEST(QuickSumsLimits, FinishLeavesWhatHalvesCannotHoldToOthers) {
  std::vector<std::int64_t> sums(8, 1);
  std::vector<std::byte> out(16);
  sums[5] = std::int64_t{65519} << 30;
  EXPECT_TRUE(finish_quickly(DType::f16, sums, 1, 30, out));
  sums[5] = -(std::int64_t{65520} << 30);
  EXPECT_FALSE(finish_quickly(DType::f16, sums, 1, 30, out));
}

TEST(QuickSumsLimits, FinishLeavesOtherTypesToOthers) {
  const std::vector<std::int64_t> sums(2, 1);
  std::vector<std::byte> out(16);
  EXPECT_FALSE(finish_quickly(DType::f64, sums, 1, 44, out));
}

}  // namespace
}  // namespace soup
