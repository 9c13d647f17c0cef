// Noise to begin sampling from, as a file.
#include "trainer/noise_file.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "trainer/tensor_file.hpp"

namespace soup {
namespace {

void require_normal(const std::filesystem::path& path, const char* name, const at::Tensor& noise) {
  if (!noise.is_floating_point()) {
    throw DataError(path, fmt::format("its tensor `{}` holds integers, not floating-point numbers", name),
                    "noise is standard normal");
  }
  if (!at::isfinite(noise).all().item<bool>()) {
    throw DataError(path, fmt::format("its tensor `{}` holds NaN or Inf", name), "noise is standard normal");
  }
}

}  // namespace

InitialNoise read_noise(const std::filesystem::path& path, std::int64_t images, const DiffusionModel& model,
                        const SampleOptions& options) {
  const std::map<std::string, at::Tensor> tensors = read_tensors(path);
  const auto found = tensors.find("noise");
  if (found == tensors.end()) {
    throw DataError(path, "holds no float tensor `noise`", "it must be [images, channels, height, width], in latents");
  }
  InitialNoise initial;
  initial.noise = found->second;
  const auto shape = initial.noise.sizes();
  if (shape.size() != 4 || shape[0] != images || shape[1] != model.config.unet.in_channels || shape[2] < 1 ||
      shape[3] < 1) {
    throw DataError(path,
                    fmt::format("its tensor `noise` is {}, but {} images of this model need [{}, {}, h, w]",
                                shape.vec(), images, images, model.config.unet.in_channels),
                    "h and w are those of the latents: an image's, divided by the autoencoder's factor");
  }
  require_normal(path, "noise", initial.noise);
  const SamplingPlan plan = make_sampling_plan(*model.schedule, options.sampler);
  if (std::ranges::none_of(plan.steps, [](const SamplingStep& step) { return step.from_noise != 0.0; })) {
    return initial;
  }
  std::vector<std::int64_t> wanted = shape.vec();
  wanted.insert(wanted.begin(), options.sampler.steps);
  const auto steps = tensors.find("step_noise");
  if (steps == tensors.end() || steps->second.sizes() != wanted) {
    throw DataError(
        path,
        fmt::format("holds no tensor `step_noise` {}, which {} adds at its steps", wanted, options.sampler.sampler),
        "add it, or leave --noise out and give a --seed");
  }
  require_normal(path, "step_noise", steps->second);
  initial.step_noise = [all = steps->second](std::size_t step, std::int64_t first, std::int64_t count) {
    return all[static_cast<std::int64_t>(step)].narrow(0, first, count);
  };
  return initial;
}

}  // namespace soup
