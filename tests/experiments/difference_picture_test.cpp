// The picture of `soup diff` is a whole PNG of the size its content needs, or nothing.
#include "experiments/difference_picture.hpp"

#include <gmock/gmock.h>

#include "core/atomic_file.hpp"
#include "core/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

// `rows` blocks of one weight; model m moved by m + 1 in each, or not at all in the last.
Difference difference_of(std::size_t models, std::size_t rows) {
  Difference difference;
  PartDifference part{"unet", "unet", {}};
  for (std::size_t m = 0; m < models; ++m) {
    difference.models.push_back({"model \"" + std::to_string(m) + "\" $x {y}", {}});
  }
  for (std::size_t row = 0; row < rows; ++row) {
    TensorDifference tensor;
    tensor.name = tensor.block = "block" + std::to_string(row);
    tensor.sums = DeltaSums(models);
    std::vector<std::vector<double>> deltas;
    for (std::size_t m = 0; m < models; ++m) {
      deltas.push_back({row + 1 == rows ? 0.0 : static_cast<double>(m + 1)});
    }
    tensor.sums.add(std::vector<double>{row == 0 ? 0.0 : 1.0}, deltas);
    tensor.changes.resize(models);
    tensor.not_finite.resize(models);
    part.tensors.push_back(std::move(tensor));
  }
  difference.parts.push_back(std::move(part));
  return difference;
}

struct Size {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
};

Size size_of_png(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  EXPECT_TRUE(bytes.starts_with("\x89PNG\r\n"));
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = at; i < at + 4; ++i) {
      value = value << 8 | static_cast<unsigned char>(bytes.at(i));
    }
    return value;
  };
  return {number(16), number(20)};  // of the IHDR chunk
}

TEST(DifferencePicture, GrowsWithRowsAndModels) {
  const test::TemporaryFolder folder;
  const auto size = [&](std::size_t models, std::size_t rows, DifferenceTextOptions options = {}) {
    const Difference difference = difference_of(models, rows);
    write_difference_picture(folder / "x.png", difference, find_outliers(difference), options);
    return size_of_png(folder / "x.png");
  };
  const Size small = size(2, 3);
  const Size wide = size(6, 3);
  const Size high = size(2, 10);
  EXPECT_GT(wide.width, small.width + 4 * 2 * 40) << "both maps have a column more per model";
  EXPECT_GT(high.height, small.height + 7 * 20);
  EXPECT_EQ(high.width, small.width);
  EXPECT_LT(size(1, 3).width, small.width) << "one model has no cosines";
  DifferenceTextOptions all;
  all.top = 0;
  EXPECT_LT(size(2, 2000, all).height, 32768u) << "gnuplot draws no larger pictures";
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(DifferencePicture, ThatCannotBeWrittenLeavesNothing) {
  const test::TemporaryFolder folder;
  const Difference difference = difference_of(2, 3);
  EXPECT_THROW(write_difference_picture(folder / "absent/x.png", difference, find_outliers(difference)), DataError);
  EXPECT_EQ(folder.entries(), 0u);
}

}  // namespace
}  // namespace soup
