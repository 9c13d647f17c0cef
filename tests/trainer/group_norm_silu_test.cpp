// The kernel against ATen's operators in double, forward and backward.
#include "trainer/group_norm_silu.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>
#include <tuple>
#include <vector>

namespace soup {
namespace {

constexpr double epsilon = 1e-5;

struct Inputs {
  at::Tensor image, shift, weight, bias;
  std::int64_t groups;
};

Inputs make(std::int64_t count, std::int64_t channels, std::int64_t height, std::int64_t width, std::int64_t groups) {
  at::Generator generator = at::detail::createCPUGenerator(7);
  const auto normal = [&generator](at::IntArrayRef sizes) { return at::randn(sizes, generator); };
  return {normal({count, channels, height, width}), normal({count, channels}), normal({channels}), normal({channels}),
          groups};
}

at::Tensor reference(const Inputs& in) {
  const at::Tensor shifted = in.shift.defined() ? in.image + in.shift.unsqueeze(-1).unsqueeze(-1) : in.image;
  return at::silu(at::group_norm(shifted, in.groups, in.weight, in.bias, epsilon));
}

// Output and gradients by image, weight, bias and, where there is one, shift; the loss is a fixed weighted sum.
std::vector<at::Tensor> run(const Inputs& in, at::ScalarType type, bool channels_last,
                            at::Tensor (*function)(const Inputs&)) {
  Inputs leaves = in;
  std::vector<at::Tensor*> tensors = {&leaves.image, &leaves.weight, &leaves.bias};
  if (in.shift.defined()) {
    tensors.push_back(&leaves.shift);
  }
  std::vector<at::Tensor> wanted;
  for (at::Tensor* tensor : tensors) {
    const bool as_image = tensor == &leaves.image && channels_last;
    *tensor = tensor->to(type).clone(as_image ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
    tensor->requires_grad_();
    wanted.push_back(*tensor);
  }
  const at::Tensor output = function(leaves);
  const at::Tensor slope = at::linspace(-1, 1, output.numel(), at::kDouble).view(output.sizes()).to(type);
  std::vector<at::Tensor> result = torch::autograd::grad({(output * slope).sum()}, wanted);
  result.insert(result.begin(), output.detach());
  return result;
}

at::Tensor ours(const Inputs& in) {
  return group_norm_silu(in.image, in.shift, in.weight, in.bias, in.groups, epsilon);
}

void expect_close(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected, double tolerance) {
  const std::vector<const char*> names = {"output", "by image", "by weight", "by bias", "by shift"};
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = (found[i].to(at::kDouble) - expected[i]).abs().max().item<double>();
    double scale = expected[i].abs().max().item<double>();
    if (i == 4) {  // a sum over pixels that may cancel: with one channel a group it is zero
      scale = expected[1].abs().sum({2, 3}).max().item<double>();
    }
    EXPECT_LE(error, tolerance * scale) << names[i];
  }
}

class GroupNormSiluTest
    : public testing::TestWithParam<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>> {};

TEST_P(GroupNormSiluTest, EqualsDoublePrecisionOperators) {
  const auto [channels, groups, height, width] = GetParam();
  Inputs in = make(3, channels, height, width, groups);
  for (const bool channels_last : {true, false}) {
    expect_close(run(in, at::kFloat, channels_last, ours), run(in, at::kDouble, false, reference), 2e-6);
  }
  in.shift = at::Tensor();
  expect_close(run(in, at::kFloat, true, ours), run(in, at::kDouble, false, reference), 2e-6);
}

// Channels that fill vectors, that leave a rest, one per group, one group; one pixel; odd sizes.
INSTANTIATE_TEST_SUITE_P(Shapes, GroupNormSiluTest,
                         testing::Values(std::tuple(32, 8, 16, 16), std::tuple(96, 8, 4, 4), std::tuple(12, 3, 5, 7),
                                         std::tuple(5, 5, 3, 2), std::tuple(7, 1, 1, 9), std::tuple(64, 8, 1, 1),
                                         std::tuple(40, 4, 64, 64)));

TEST(GroupNormSilu, LargeMeansDoNotCancel) {
  Inputs in = make(2, 16, 8, 8, 4);
  in.image = in.image + 1000.0;
  // The inputs themselves have lost half their digits: 1000 + x keeps x to 6e-5.
  in.image = in.image.to(at::kFloat);
  expect_close(run(in, at::kFloat, true, ours), run(in, at::kDouble, false, reference), 2e-4);
}

TEST(GroupNormSilu, ExtremeValuesSaturateAndNanStays) {
  Inputs in = make(1, 4, 2, 2, 1);
  in.weight.fill_(1e4);  // z up to about 2e4 either way
  const std::vector<at::Tensor> found = run(in, at::kFloat, true, ours);
  expect_close(found, run(in, at::kDouble, false, reference), 2e-6);
  for (const at::Tensor& tensor : found) {
    EXPECT_TRUE(tensor.isfinite().all().item<bool>());
  }
  in.image[0][1][0][1] = std::numeric_limits<float>::quiet_NaN();
  for (const at::Tensor& tensor : run(in, at::kFloat, true, ours)) {
    EXPECT_TRUE(tensor.isnan().any().item<bool>());
  }
}

TEST(GroupNormSilu, DoesNotDependOnTheOtherImagesOfABatch) {
  const Inputs in = make(8, 24, 6, 6, 3);
  const at::Tensor all = ours(in);
  for (std::int64_t i = 0; i < 8; ++i) {
    const Inputs one{in.image.narrow(0, i, 1), in.shift.narrow(0, i, 1), in.weight, in.bias, in.groups};
    EXPECT_TRUE(at::equal(ours(one), all.narrow(0, i, 1)));
  }
}

TEST(GroupNormSilu, DoubleTakesTheOperators) {
  const Inputs in = make(2, 8, 3, 3, 2);
  expect_close(run(in, at::kDouble, true, ours), run(in, at::kDouble, true, reference), 1e-14);
}

TEST(GroupNormSilu, EmptyBatch) {
  const Inputs in = make(0, 8, 3, 3, 2);
  EXPECT_EQ(ours(in).sizes(), in.image.sizes());
}

TEST(GroupNormSilu, FewLargeImagesWithoutGradients) {
  const at::NoGradGuard no_grad;
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  Inputs in = make(1, 8, 128, 130, 4);
  in.image = in.image.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor before = in.image.clone();
  const at::Tensor found = ours(in);
  at::set_num_threads(threads);
  const at::Tensor expected = reference({in.image.to(at::kDouble), in.shift.to(at::kDouble), in.weight.to(at::kDouble),
                                         in.bias.to(at::kDouble), in.groups});
  EXPECT_LE((found - expected).abs().max().item<double>(), 3e-6 * expected.abs().max().item<double>());
  EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(at::equal(in.image, before));
}

}  // namespace
}  // namespace soup
