// The kernels for GPUs, thread by thread on the CPU, against PyTorch's operators: what each thread computes is the same
// code; only the launch is not tested here (tests/trainer/gpu_test.cpp does, where there is a GPU).
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <tuple>
#include <vector>

#include "trainer/geglu_threads.hpp"
#include "trainer/group_norm_threads.hpp"

namespace soup {
namespace {

constexpr double epsilon = 1e-5;

template <class Call>
void run(const Call& call, std::int64_t threads, void (*function)(const Call&, std::int64_t)) {
  // Backwards: no thread may rely on another of the same kernel.
  for (std::int64_t thread = threads; thread-- > 0;) {
    function(call, thread);
  }
}

struct NormCase {
  at::Tensor image, shift, weight, bias, slope;  // image and slope [N, pixels, channels]
  std::int64_t groups;
  std::int64_t chunk;
  bool silu;
};

template <class T>
NormCase make(std::int64_t images, std::int64_t pixels, std::int64_t channels, std::int64_t groups, std::int64_t chunk,
              bool shifted, bool silu) {
  const auto type = c10::CppTypeToScalarType<T>::value;
  at::Generator generator = at::detail::createCPUGenerator(3);
  const auto normal = [&generator](at::IntArrayRef sizes) { return at::randn(sizes, generator); };
  return {.image = (2.0 * normal({images, pixels, channels}) + 1.0).to(type),
          .shift = shifted ? normal({images, channels}) : at::Tensor(),
          .weight = normal({channels}),
          .bias = normal({channels}),
          .slope = normal({images, pixels, channels}).to(type),
          .groups = groups,
          .chunk = chunk,
          .silu = silu};
}

float* floats(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<float>() : nullptr;
}

// Output, and gradients by image, weight, bias and, where there is one, shift.
template <class T, int width>
std::vector<at::Tensor> by_threads(const NormCase& in) {
  const GpuNormShape shape{.images = in.image.size(0),
                           .pixels = in.image.size(1),
                           .channels = in.image.size(2),
                           .groups = in.groups,
                           .chunk = in.chunk};
  const auto scratch = [&](std::int64_t rows, std::int64_t columns) {
    return at::full({shape.images, rows, columns}, std::nan(""), at::kFloat);
  };
  const at::Tensor chunks[] = {scratch(shape.chunks(), shape.channels), scratch(shape.chunks(), shape.channels)};
  const at::Tensor channels[] = {scratch(1, shape.channels), scratch(1, shape.channels), scratch(1, shape.channels),
                                 scratch(1, shape.channels), scratch(1, shape.channels)};
  const at::Tensor groups[] = {scratch(1, shape.groups), scratch(1, shape.groups), scratch(1, shape.groups),
                               scratch(1, shape.groups)};
  at::Tensor output = at::empty_like(in.image);
  at::Tensor by_image = at::empty_like(in.image);
  const GpuNormForward<T> forward{.shape = shape,
                                  .image = in.image.const_data_ptr<T>(),
                                  .shift = floats(in.shift),
                                  .weight = floats(in.weight),
                                  .bias = floats(in.bias),
                                  .epsilon = static_cast<float>(epsilon),
                                  .silu = in.silu,
                                  .chunk_means = floats(chunks[0]),
                                  .chunk_squares = floats(chunks[1]),
                                  .channel_means = floats(channels[0]),
                                  .channel_squares = floats(channels[1]),
                                  .means = floats(groups[0]),
                                  .inverse_deviations = floats(groups[1]),
                                  .output = output.mutable_data_ptr<T>()};
  const std::int64_t image_threads = shape.images * shape.chunks() * (shape.channels / width);
  run(forward, image_threads, norm_chunk_moments<width, T>);
  run(forward, shape.images * shape.channels, norm_channel_moments<T>);
  run(forward, shape.images * shape.groups, norm_group_moments<T>);
  run(forward, image_threads, norm_output<width, T>);
  const GpuNormBackward<T> backward{.forward = forward,
                                    .slope = in.slope.const_data_ptr<T>(),
                                    .chunk_sums = floats(chunks[0]),
                                    .chunk_products = floats(chunks[1]),
                                    .by_bias = floats(channels[2]),
                                    .by_weight = floats(channels[3]),
                                    .mean_sums = floats(groups[2]),
                                    .mean_products = floats(groups[3]),
                                    .by_shift = in.shift.defined() ? floats(channels[4]) : nullptr,
                                    .by_image = by_image.mutable_data_ptr<T>()};
  run(backward, image_threads, norm_chunk_slopes<width, T>);
  run(backward, shape.images * shape.channels, norm_channel_slopes<T>);
  run(backward, shape.images * shape.groups, norm_group_slopes<T>);
  run(backward, image_threads, norm_by_image<width, T>);
  std::vector<at::Tensor> results = {output, by_image, channels[3].sum(0).flatten(), channels[2].sum(0).flatten()};
  if (in.shift.defined()) {
    results.push_back(channels[4].squeeze(1));
  }
  return results;
}

// The same by PyTorch's operators in double.
std::vector<at::Tensor> by_operators(const NormCase& in) {
  const auto leaf = [](const at::Tensor& tensor) { return tensor.to(at::kDouble).detach().requires_grad_(); };
  std::vector<at::Tensor> inputs = {leaf(in.image), leaf(in.weight), leaf(in.bias)};
  at::Tensor image = inputs[0].transpose(1, 2);
  if (in.shift.defined()) {
    inputs.push_back(leaf(in.shift));
    image = image + inputs[3].unsqueeze(-1);
  }
  at::Tensor output = at::group_norm(image, in.groups, inputs[1], inputs[2], epsilon).transpose(1, 2);
  output = in.silu ? at::silu(output) : output;
  std::vector<at::Tensor> results = torch::autograd::grad({(output * in.slope.to(at::kDouble)).sum()}, inputs);
  results.insert(results.begin(), output.detach());
  return results;
}

void expect_close(const std::vector<at::Tensor>& found, const std::vector<at::Tensor>& expected, double tolerance) {
  const std::vector<const char*> names = {"output", "by image", "by weight", "by bias", "by shift"};
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = (found[i].to(at::kDouble) - expected[i]).abs().max().item<double>();
    // Sums over pixels may cancel: with one channel a group, that by the shift is zero.
    const double scale = i < 2 ? expected[i].abs().max().item<double>() : expected[1].abs().sum(1).max().item<double>();
    EXPECT_LE(error, tolerance * scale) << names[i];
  }
}

class GroupNormThreads
    : public testing::TestWithParam<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>> {};

TEST_P(GroupNormThreads, EqualPyTorchsOperators) {
  const auto [pixels, channels, groups, chunk] = GetParam();
  for (const bool shifted : {false, true}) {
    for (const bool silu : {false, true}) {
      const NormCase wide = make<float>(3, pixels, channels, groups, chunk, shifted, silu);
      const std::vector<at::Tensor> expected = by_operators(wide);
      expect_close(by_threads<float, 1>(wide), expected, 3e-6);
      if (channels % 4 == 0) {
        expect_close(by_threads<float, 4>(wide), expected, 3e-6);
      }
      if (channels % 8 == 0) {
        const NormCase narrow = make<c10::BFloat16>(3, pixels, channels, groups, chunk, shifted, silu);
        // Results are rounded to 8 bits; what is summed in between is not.
        expect_close(by_threads<c10::BFloat16, 8>(narrow), by_operators(narrow), 4.1e-3);
      }
    }
  }
}

// Pixels, channels, groups, chunk: chunks that are full and not, one chunk, packs across groups, one channel a group.
INSTANTIATE_TEST_SUITE_P(Shapes, GroupNormThreads,
                         testing::Values(std::tuple(64, 32, 8, 16), std::tuple(35, 40, 4, 16),
                                         std::tuple(16, 80, 8, 16), std::tuple(1, 64, 8, 16), std::tuple(9, 5, 5, 4),
                                         std::tuple(50, 24, 1, 7)));

TEST(GroupNormThreads, LargeMeansDoNotCancel) {
  NormCase in = make<float>(2, 64, 16, 4, 16, true, true);
  in.image = in.image + 1000.0;
  expect_close(by_threads<float, 4>(in), by_operators(in), 2e-4);
}

TEST(GroupNormThreads, NanStays) {
  NormCase in = make<float>(1, 8, 8, 2, 16, true, true);
  in.image[0][3][2] = std::numeric_limits<float>::quiet_NaN();
  for (const at::Tensor& tensor : by_threads<float, 4>(in)) {
    EXPECT_TRUE(tensor.isnan().any().item<bool>());
  }
}

template <class T, int width>
void check_geglu(std::int64_t rows, std::int64_t columns, double tolerance) {
  const auto type = c10::CppTypeToScalarType<T>::value;
  at::Generator generator = at::detail::createCPUGenerator(5);
  const at::Tensor projected = (3.0 * at::randn({rows, 2 * columns}, generator)).to(type);
  const at::Tensor slope = at::randn({rows, columns}, generator).to(type);
  at::Tensor output = at::empty({rows, columns}, type);
  at::Tensor by_projected = at::empty_like(projected);
  const GpuGeglu<T> call{.rows = rows,
                         .columns = columns,
                         .projected = projected.const_data_ptr<T>(),
                         .output = output.mutable_data_ptr<T>(),
                         .slope = slope.const_data_ptr<T>(),
                         .by_projected = by_projected.mutable_data_ptr<T>()};
  run(call, rows * (columns / width), geglu_output<width, T>);
  run(call, rows * (columns / width), geglu_by_projected<width, T>);
  const at::Tensor leaf = projected.to(at::kDouble).requires_grad_();
  const auto halves = leaf.chunk(2, -1);
  const at::Tensor expected = halves[0] * at::gelu(halves[1]);
  const at::Tensor gradient = torch::autograd::grad({(expected * slope.to(at::kDouble)).sum()}, {leaf})[0];
  const auto error = [](const at::Tensor& found, const at::Tensor& wanted) {
    return ((found.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
  };
  EXPECT_LE(error(output, expected.detach()), tolerance);
  EXPECT_LE(error(by_projected, gradient), tolerance);
}

TEST(GegluThreads, EqualPyTorchsOperators) {
  check_geglu<float, 1>(3, 5, 2e-6);
  check_geglu<float, 4>(7, 12, 2e-6);
  check_geglu<c10::BFloat16, 8>(5, 64, 4e-3);
}

}  // namespace
}  // namespace soup
