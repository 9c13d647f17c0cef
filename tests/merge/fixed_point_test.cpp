// Quantising, summing and finishing against 128-bit integers; the guards; the range in which equal models stay equal.
#include "merge/fixed_point.hpp"

#include <gmock/gmock.h>

#include <limits>

#include "core/error.hpp"
#include "core/random.hpp"
#include "tests/merge/oracle.hpp"

namespace soup {
namespace {

using test::floats_below;
using testing::HasSubstr;

std::vector<std::int64_t> sums_of(const std::vector<float>& values, std::int64_t weight, std::int64_t total,
                                  int scale_bits) {
  std::vector<std::int64_t> sums(values.size(), 0);
  accumulate(values, weight, total, scale_bits, "w", sums);
  return sums;
}

// Blocks that stay below 2^51 units are rounded in another way than those that do not.
TEST(Accumulate, EqualsShiftedIntegersAtEveryScaleAndSize) {
  for (int scale_bits = 1; scale_bits <= 52; ++scale_bits) {
    for (const int largest_bits : {51, 52, 62 - 3}) {
      const std::vector<float> values =
          floats_below(largest_bits - scale_bits, 3001, static_cast<std::uint64_t>(scale_bits));
      for (const std::int64_t weight : {1, 3}) {
        const std::vector<std::int64_t> sums = sums_of(values, weight, 4, scale_bits);
        for (std::size_t i = 0; i < values.size(); ++i) {
          ASSERT_EQ(sums[i], static_cast<std::int64_t>(test::quantised(values[i], scale_bits) * weight))
              << values[i] << " at scale " << scale_bits;
        }
      }
    }
  }
}

TEST(Accumulate, IsTheSameOnBothSidesOfTheQuickWaysLimit) {
  const float below = std::nextafter(128.0F, 0.0F);
  // Near -1.5 * 2^52 units the quick way adds up to nearly nothing.
  for (const float value : {below, -below, 128.0F, -128.0F, 0x1.000002p7F, -384.0F, -0x1.800002p8F, -1e5F}) {
    EXPECT_EQ(sums_of({value, 0.0F}, 1, 1, 44)[0], static_cast<std::int64_t>(test::quantised(value, 44)));
  }
}

TEST(Accumulate, RoundsTiesToEven) {
  // At scale 1 a quarter is half a unit.
  EXPECT_THAT(sums_of({0.25F, 0.75F, 1.25F, -0.25F, -0.75F, -1.25F, 0.26F}, 1, 1, 1),
              testing::ElementsAre(0, 2, 2, 0, -2, -2, 1));
}

TEST(Accumulate, DoublesAreExactToo) {
  const std::vector<double> values{1.0 + 0x1p-44, -0x1.8p-45, 0x1p-45, 3.0 * 0x1p-45, 0x1.fffffffffffffp16, -0x1p17};
  std::vector<std::int64_t> sums(values.size(), 5);
  EXPECT_EQ(accumulate(values, 1, 1, 44, "w", sums), 0x1p17);
  const std::int64_t one = std::int64_t{1} << 44;
  // 0x1.fffffffffffffp16 * 2^44 has 8 bits below the point's place of 2^8: it is an integer already.
  EXPECT_THAT(sums, testing::ElementsAre(one + 1 + 5, -1 + 5, 0 + 5, 2 + 5,
                                         static_cast<std::int64_t>(0x1.fffffffffffffp60) + 5, -(one << 17) + 5));
}

TEST(Accumulate, NegativeWeightTakesOutExactly) {
  const std::vector<float> a = floats_below(10, 999, 1);
  const std::vector<float> b = floats_below(10, 999, 2);
  std::vector<std::int64_t> sums = sums_of(a, 2, 9, 44);
  accumulate(b, 7, 9, 44, "w", sums);
  accumulate(b, -7, 9, 44, "w", sums);
  EXPECT_EQ(sums, sums_of(a, 2, 2, 44));
}

TEST(Finish, IsTheExactQuotientRounded) {
  const std::vector<float> a = floats_below(14, 5000, 3);
  const std::vector<float> b = floats_below(14, 5000, 4);
  const std::vector<test::OracleTerm> terms{{a, 1}, {b, 2}};
  std::vector<std::int64_t> sums = sums_of(a, 1, 3, 44);
  accumulate(b, 2, 3, 44, "w", sums);
  EXPECT_EQ(sums, test::oracle_sums(terms, 44));
  std::vector<float> soup(sums.size());
  finish(sums, 3, 44, std::span<float>(soup));
  EXPECT_EQ(soup, test::oracle_soup(terms, 44));
}

// Sums of all sizes, and total weights that are and are not powers of two, against the formula in plain operations.
TEST(Finish, IsThreeOperationsOfIeee754) {
  RandomStream stream(17, 0);
  std::vector<std::int64_t> sums{0, 1, -1, INT64_MAX, -INT64_MAX, std::int64_t{1} << 53, (std::int64_t{1} << 53) + 1};
  for (int i = 0; i < 20000; ++i) {
    const auto bits = static_cast<std::int64_t>(stream.next_u64() >> stream.below(63));
    sums.push_back(i % 2 == 0 ? bits / 2 : -(bits / 2));
  }
  for (const std::int64_t total : {1, 2, 3, 7, 64, 1000, 1 << 20}) {
    std::vector<float> soup(sums.size());
    std::vector<double> wide(sums.size());
    finish(sums, total, 44, std::span<float>(soup));
    finish(sums, total, 44, std::span<double>(wide));
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const double expected = static_cast<double>(sums[i]) / static_cast<double>(total) * 0x1p-44;
      ASSERT_EQ(wide[i], expected) << sums[i] << " / " << total;
      ASSERT_EQ(soup[i], static_cast<float>(expected)) << sums[i] << " / " << total;
    }
  }
}

// q is exact where the last mantissa bit of a float is worth 2^-44 or more, i.e. |w| >= 2^-21; the sum of K equal
// integers divided by K is exact while it has at most 53 bits, and beyond that rounds to the model's own 24 bits.
TEST(Finish, MeanOfEqualModelsIsTheModelBitForBit) {
  RandomStream stream(11, 0);
  std::vector<float> model;
  for (int i = 0; i < 20000; ++i) {
    const auto mantissa = static_cast<float>(1.0 + stream.uniform());
    model.push_back(std::ldexp(i % 2 == 0 ? mantissa : -mantissa, static_cast<int>(stream.below(28)) - 20));
  }
  for (const std::int64_t count : {1, 2, 3, 5, 7, 10, 41, 100}) {
    std::vector<std::int64_t> sums(model.size(), 0);
    for (std::int64_t k = 0; k < count; ++k) {
      accumulate(model, 1, count, 44, "w", sums);
    }
    std::vector<float> soup(model.size());
    finish(sums, count, 44, std::span<float>(soup));
    EXPECT_EQ(soup, model) << count << " equal models";
  }
}

std::string refusal(const std::vector<float>& values, std::int64_t total, int scale_bits) {
  std::vector<std::int64_t> sums(values.size());
  try {
    accumulate(values, 1, total, scale_bits, "unet.conv_in.weight", sums, 100);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Guards, NameTensorElementAndValue) {
  std::vector<float> values(5000, 0.5F);
  values[4097] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(refusal(values, 1, 44), HasSubstr("unet.conv_in.weight: element 4197 is nan"));
  values[4097] = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(refusal(values, 1, 44), HasSubstr("element 4197 is -inf"));
  values[4097] = -0x1p18F;
  EXPECT_THAT(refusal(values, 1, 44), HasSubstr("element 4197: |w| = 262144 times the total weight 1 times 2^44"));
  EXPECT_THROW(static_cast<void>(largest_magnitude(std::vector<float>{1.0F, std::nanf("")}, "w")), DataError);
}

TEST(Guards, DecideTheBoundaryExactly) {
  const float below = std::nextafter(0x1p18F, 0.0F);
  EXPECT_EQ(refusal({below, -below}, 1, 44), "");
  EXPECT_NE(refusal({0x1p18F}, 1, 44), "");
  // 2^62 / 3 lies between floats: the largest float below passes, the next does not.
  const auto third = static_cast<float>(0x1p18 / 3.0);
  const float under = static_cast<double>(third) * 3.0 < 0x1p18 ? third : std::nextafter(third, 0.0F);
  EXPECT_EQ(refusal({under}, 3, 44), "");
  EXPECT_NE(refusal({std::nextafter(under, 1e9F)}, 3, 44), "");
}

TEST(Guards, ScaleAndWeightsAreChecked) {
  std::vector<float> values{1.0F};
  std::vector<std::int64_t> sums(1);
  for (const int scale_bits : {-1, 0, 53}) {
    EXPECT_THROW(accumulate(values, 1, 1, scale_bits, "w", sums), ConfigError);
  }
  EXPECT_THROW(accumulate(values, 1, 0, 44, "w", sums), ConfigError);
  EXPECT_THROW(require_valid_scale(44, (std::int64_t{1} << 53) + 1), ConfigError);
  EXPECT_NO_THROW(require_valid_scale(52, std::int64_t{1} << 53));
  EXPECT_THROW(accumulate(values, 2, 1, 44, "w", sums), InvariantError);
  EXPECT_THROW(accumulate(values, 1, 1, 44, "w", std::span<std::int64_t>()), InvariantError);
}

TEST(LargestMagnitude, FindsItAnywhere) {
  std::vector<float> values(10000, 0.25F);
  EXPECT_EQ(largest_magnitude(values, "w"), 0.25);
  values[9999] = -3.5F;
  EXPECT_EQ(largest_magnitude(values, "w"), 3.5);
  EXPECT_EQ(largest_magnitude(std::span<const float>(), "w"), 0.0);
}

}  // namespace
}  // namespace soup
