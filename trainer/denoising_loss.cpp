// The training objective.
#include "trainer/denoising_loss.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace soup {

namespace {

// [N, 1, 1, 1] factors of the schedule at the given timesteps.
at::Tensor factors(const NoiseSchedule& schedule, const at::Tensor& timesteps, double (*function)(double)) {
  at::Tensor values = at::empty({timesteps.size(0), 1, 1, 1}, at::kFloat);
  for (std::int64_t i = 0; i < timesteps.size(0); ++i) {
    values.data_ptr<float>()[i] =
        static_cast<float>(function(schedule.alpha_bar(timesteps.data_ptr<std::int64_t>()[i])));
  }
  return values;
}

}  // namespace

NoisedLatents add_noise(const NoiseSchedule& schedule, const at::Tensor& latents, const at::Tensor& noise,
                        const at::Tensor& timesteps) {
  const at::Tensor signal = factors(schedule, timesteps, [](double alpha_bar) { return std::sqrt(alpha_bar); });
  const at::Tensor sigma = factors(schedule, timesteps, [](double alpha_bar) { return std::sqrt(1.0 - alpha_bar); });
  NoisedLatents result;
  result.noised = at::addcmul(signal * latents, sigma, noise);
  if (schedule.config().prediction_type == "epsilon") {
    result.target = noise;
  } else {
    result.target = at::addcmul(signal * noise, sigma, latents, -1);
  }
  return result;
}

at::Tensor denoising_loss(const DiffusionModel& model, const at::Tensor& images, const at::Tensor& noise,
                          const at::Tensor& timesteps, const at::Tensor& text) {
  const at::Tensor latents = model.autoencoder->latents(model.autoencoder->encode(images), {});
  const NoisedLatents pair = add_noise(*model.schedule, latents, noise.view(latents.sizes()), timesteps);
  const at::Tensor prediction = model.unet->forward(pair.noised, timesteps, text);
  return at::mse_loss(prediction, pair.target, at::Reduction::None).flatten(1).mean(1);
}

std::vector<double> denoising_losses(const DiffusionModel& model, const at::Tensor& images,
                                     const std::vector<std::string>& captions, SeedTree seeds, std::int64_t draws) {
  SOUP_REQUIRE(images.size(0) == static_cast<std::int64_t>(captions.size()), "one caption per image");
  const at::NoGradGuard no_grad;
  constexpr std::int64_t batch = 64;
  const std::int64_t count = images.size(0);
  const std::int64_t values = images[0].numel();
  const std::int64_t steps = model.schedule->steps();
  std::vector<double> losses(static_cast<std::size_t>(count), 0.0);
  for (std::int64_t first = 0; first < count; first += batch) {
    const std::int64_t size = std::min(batch, count - first);
    const at::Tensor text = model.encode_text({captions.begin() + first, captions.begin() + first + size});
    for (std::int64_t draw = 0; draw < draws; ++draw) {
      at::Tensor noise = at::empty({size, values}, at::kFloat);
      at::Tensor timesteps = at::empty({size}, at::kLong);
      for (std::int64_t i = 0; i < size; ++i) {
        RandomStream stream = seeds.stream("validation", "", static_cast<std::uint64_t>((first + i) * draws + draw));
        // One level in each of `draws` equal parts of the schedule: less variance than free draws.
        const double level = (static_cast<double>(draw) + stream.uniform()) / static_cast<double>(draws);
        timesteps.data_ptr<std::int64_t>()[i] =
            std::min(steps - 1, static_cast<std::int64_t>(level * static_cast<double>(steps)));
        stream.fill_normal({noise.data_ptr<float>() + i * values, static_cast<std::size_t>(values)});
      }
      const at::Tensor loss = denoising_loss(model, images.narrow(0, first, size), noise, timesteps, text);
      for (std::int64_t i = 0; i < size; ++i) {
        losses[static_cast<std::size_t>(first + i)] += loss.data_ptr<float>()[i] / static_cast<double>(draws);
      }
    }
  }
  return losses;
}

}  // namespace soup
