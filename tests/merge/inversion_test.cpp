// How well two soups give an ingredient away, against the formula computed on whole tensors in long double.
#include "merge/inversion.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "merge/edit.hpp"
#include "tests/merge/models.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

namespace fs = std::filesystem;

struct Direct {
  long double error = 0;
  long double difference = 0;
  std::int64_t elements = 0;

  void add(const std::vector<float>& before, const std::vector<float>& after, const std::vector<float>& ingredient,
           long double total, long double weight) {
    for (std::size_t i = 0; i < before.size(); ++i) {
      const long double revealed = (total * before[i] - (total - weight) * after[i]) / weight;
      error += (revealed - ingredient[i]) * (revealed - ingredient[i]);
      difference +=
          (static_cast<long double>(ingredient[i]) - after[i]) * (static_cast<long double>(ingredient[i]) - after[i]);
      ++elements;
    }
  }
  [[nodiscard]] double relative() const { return static_cast<double>(std::sqrt(error / difference)); }
};

class InversionTest : public testing::Test {
 protected:
  static Direct directly(const fs::path& before, const fs::path& after, const fs::path& ingredient, long double total,
                         long double weight) {
    Direct direct;
    for (const fs::path& file : {test::unet_file, test::ema_file}) {
      for (const char* tensor : {"conv.weight", "conv.bias"}) {
        direct.add(test::floats_of(before / file, tensor), test::floats_of(after / file, tensor),
                   test::floats_of(ingredient / file, tensor), total, weight);
      }
    }
    return direct;
  }
  test::TemporaryFolder folder_;
  fs::path root_ = folder_.path();
};

TEST_F(InversionTest, EqualsTheFormulaComputedDirectly) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const fs::path root = root_ / std::string(name_of(dtype));
    std::vector<MergeInput> inputs;
    for (const auto& [name, weight] : {std::pair{"a", 3}, std::pair{"b", 2}, std::pair{"c", 5}}) {
      inputs.push_back(test::make_ingredient(root, name, weight, {.width = 3000, .dtype = dtype}));
    }
    MergeOptions options;
    options.dtype = dtype;
    merge(inputs, root / "soup", options);
    const Certificate certificate = remove_ingredient(root / "soup", "b", root / "without").certificate;
    const Direct direct = directly(root / "soup", root / "without", inputs[1].path, 10, 2);
    ASSERT_TRUE(certificate.inversion.has_value());
    EXPECT_EQ(certificate.inversion->elements, direct.elements);
    ASSERT_TRUE(certificate.inversion->relative_error().has_value());
    // Doubles against long doubles over 2 * 9007 squares: far below 1e-6 of a number that is itself a rounding error.
    EXPECT_NEAR(*certificate.inversion->relative_error() / direct.relative(), 1.0, 1e-6) << name_of(dtype);
    // Rounding of the stored soups by half a unit in the last place, times N / n = 5.
    EXPECT_LT(*certificate.inversion->relative_error(), dtype == DType::f32 ? 1e-6 : 0.05) << name_of(dtype);
    EXPECT_GT(*certificate.inversion->relative_error(), 0.0);
  }
}

TEST_F(InversionTest, DoesNotDependOnThreads) {
  const MergeInput a = test::make_ingredient(root_, "a", 1, {.width = 70000});
  const MergeInput b = test::make_ingredient(root_, "b", 1, {.width = 70000});
  merge({a, b}, root_ / "soup");
  const Weights before = Weights::open(root_ / "soup" / test::unet_file);
  const Weights after = Weights::open(a.path / test::unet_file);
  const Weights ingredient = Weights::open(b.path / test::unet_file);
  const InversionPart part{&before, &after, &ingredient};
  const Inversion one = measure_inversion(std::span(&part, 1), 2, 1, 1);
  const Inversion many = measure_inversion(std::span(&part, 1), 2, 1, 5);
  EXPECT_EQ(one.rms_error, many.rms_error);
  EXPECT_EQ(one.rms_difference, many.rms_difference);
}

TEST_F(InversionTest, AnIngredientLikeTheSoupHasNoRelativeError) {
  EXPECT_FALSE((Inversion{5, 0.0, 0.0}).relative_error().has_value());
  EXPECT_EQ((Inversion{5, 0.0, 0.25}).relative_error(), 0.0);
  EXPECT_EQ((Inversion{5, 0.5, 0.25}).relative_error(), 2.0);
}

}  // namespace
}  // namespace soup
