// DDIM sampling with classifier-free guidance.
#include "trainer/sampler.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "core/signals.hpp"

namespace soup {
namespace {

// One DDIM step from alpha-bar `now` to alpha-bar `next` with eta = 0 (Song et al. 2021, eq. 12).
at::Tensor ddim_step(const at::Tensor& sample, const at::Tensor& prediction, double now, double next, bool epsilon) {
  const double signal = std::sqrt(now);
  const double sigma = std::sqrt(1.0 - now);
  at::Tensor clean;
  at::Tensor noise;
  if (epsilon) {
    clean = (sample - sigma * prediction) / signal;
    noise = prediction;
  } else {  // v (Salimans and Ho 2022, appendix D)
    clean = signal * sample - sigma * prediction;
    noise = signal * prediction + sigma * sample;
  }
  return std::sqrt(next) * clean + std::sqrt(1.0 - next) * noise;
}

// Rows first .. first + count of text states given once for all or once per row.
at::Tensor rows(const at::Tensor& text, std::int64_t first, std::int64_t count) {
  return text.size(0) == 1 ? text.expand({count, -1, -1}) : text.narrow(0, first, count);
}

}  // namespace

at::Tensor sample_noise(const DiffusionModel& model, SeedTree seeds, std::uint64_t first_counter, std::int64_t count,
                        std::int64_t resolution) {
  const std::int64_t factor = model.autoencoder->factor();
  if (count < 0 || resolution < factor || resolution % factor != 0) {
    throw ConfigError(fmt::format("cannot sample {} images of {} pixels: the autoencoder {} needs a multiple of {}",
                                  count, resolution, model.autoencoder->name(), factor));
  }
  const std::int64_t size = resolution / factor;
  at::Tensor noise = at::empty({count, model.config.unet.in_channels, size, size}, at::kFloat);
  const auto values = static_cast<std::size_t>(model.config.unet.in_channels * size * size);
  float* row = noise.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < count; ++i, row += values) {
    seeds.stream("sample_noise", "", first_counter + static_cast<std::uint64_t>(i)).fill_normal({row, values});
  }
  return noise;
}

at::Tensor ddim(const Denoiser& denoiser, const NoiseSchedule& schedule, const at::Tensor& noise,
                const at::Tensor& text, const at::Tensor& empty_text, const SampleOptions& options) {
  const std::int64_t count = noise.size(0);
  SOUP_REQUIRE(text.size(0) == count && (empty_text.size(0) == count || empty_text.size(0) == 1),
               fmt::format("{} noises, {} texts, {} empty texts", count, text.size(0), empty_text.size(0)));
  if (options.batch < 1) {
    throw ConfigError(fmt::format("a sampling batch of {} images, must be at least 1", options.batch));
  }
  const at::NoGradGuard no_grad;
  const std::vector<std::int64_t> timesteps = schedule.sampling_timesteps(options.steps);
  const std::int64_t stride = schedule.steps() / options.steps;
  const bool epsilon = schedule.config().prediction_type == "epsilon";
  const bool guided = options.guidance != 1.0;
  at::Tensor result = at::empty_like(noise);
  for (std::int64_t first = 0; first < count; first += options.batch) {
    const std::int64_t size = std::min(options.batch, count - first);
    at::Tensor sample = noise.narrow(0, first, size);
    at::Tensor states = rows(text, first, size);
    if (guided) {
      states = at::cat({rows(empty_text, first, size), states});
    }
    for (const std::int64_t timestep : timesteps) {
      if (stop_requested()) {
        throw Interrupted("stopped while sampling; none of these images was kept");
      }
      at::Tensor prediction = denoiser(guided ? at::cat({sample, sample}) : sample, timestep, states);
      if (guided) {
        // Ho and Salimans 2022, eq. 6, with diffusers' scale: 1 is no guidance.
        const at::Tensor unconditional = prediction.narrow(0, 0, size);
        prediction = unconditional + options.guidance * (prediction.narrow(0, size, size) - unconditional);
      }
      // Below the first timestep alpha-bar stays at its first value (set_alpha_to_one = false).
      sample = ddim_step(sample, prediction, schedule.alpha_bar(timestep),
                         schedule.alpha_bar(std::max<std::int64_t>(0, timestep - stride)), epsilon);
    }
    result.narrow(0, first, size).copy_(sample);
  }
  return result;
}

std::vector<Image> sample_images(const DiffusionModel& model, const std::vector<std::string>& prompts,
                                 const at::Tensor& noise, const SampleOptions& options) {
  const at::NoGradGuard no_grad;
  const Denoiser denoiser = [&model](const at::Tensor& latents, std::int64_t timestep, const at::Tensor& text) {
    return model.unet->forward(latents, at::full({latents.size(0)}, timestep, at::kLong), text);
  };
  const at::Tensor latents =
      ddim(denoiser, *model.schedule, noise, model.encode_text(prompts), model.encode_text({""}), options);
  return to_images(model.autoencoder->decode(latents));
}

std::vector<Image> to_images(const at::Tensor& pixels) {
  SOUP_REQUIRE(pixels.dim() == 4, "pixels must be [N, C, H, W]");
  const at::Tensor bytes =
      ((pixels.detach() + 1.0) * 127.5).round().clamp(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous();
  const auto values = static_cast<std::size_t>(bytes.size(1) * bytes.size(2) * bytes.size(3));
  const std::uint8_t* next = bytes.const_data_ptr<std::uint8_t>();
  std::vector<Image> images(static_cast<std::size_t>(bytes.size(0)));
  for (Image& image : images) {
    image.height = static_cast<int>(bytes.size(1));
    image.width = static_cast<int>(bytes.size(2));
    image.channels = static_cast<int>(bytes.size(3));
    image.pixels.assign(next, next + values);
    next += values;
  }
  return images;
}

at::Tensor to_tensor(const std::vector<Image>& images) {
  if (images.empty()) {
    return at::empty({0, 3, 0, 0}, at::kFloat);
  }
  const Image& first = images.front();
  const auto values = static_cast<std::size_t>(first.height) * first.width * first.channels;
  at::Tensor bytes =
      at::empty({static_cast<std::int64_t>(images.size()), first.height, first.width, first.channels}, at::kByte);
  std::uint8_t* next = bytes.mutable_data_ptr<std::uint8_t>();
  for (const Image& image : images) {
    SOUP_REQUIRE(
        image.height == first.height && image.width == first.width && image.channels == first.channels &&
            image.pixels.size() == values,
        fmt::format("images must have one size: {} x {} x {} and {} x {} x {} with {} bytes", first.height, first.width,
                    first.channels, image.height, image.width, image.channels, image.pixels.size()));
    next = std::copy(image.pixels.begin(), image.pixels.end(), next);
  }
  return (bytes.permute({0, 3, 1, 2}).to(at::kFloat) / 127.5 - 1.0).contiguous();
}

}  // namespace soup
