// The training objective.
#include "trainer/denoising_loss.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.hpp"
#include "data/image_size.hpp"
#include "trainer/pixels.hpp"

namespace soup {

namespace {

// The schedule's numbers as one float tensor [T].
template <class Function>
at::Tensor table(const NoiseSchedule& schedule, at::Device device, Function function) {
  at::Tensor values = at::empty({schedule.steps()}, at::kFloat);
  for (std::int64_t t = 0; t < schedule.steps(); ++t) {
    values.data_ptr<float>()[t] = static_cast<float>(function(schedule.alpha_bar(t)));
  }
  return values.to(device);
}

// min-SNR-gamma in terms of alpha-bar (Hang et al. 2023, section 3.4): SNR = a / (1 - a); the loss on the image is
// weighted min(SNR, gamma), and the losses on noise and v are SNR and SNR + 1 times that on the image.
double min_snr_weight(double alpha_bar, double gamma, const std::string& prediction_type) {
  const double snr = alpha_bar / (1.0 - alpha_bar);
  if (prediction_type == "epsilon") {
    return std::min(1.0, gamma / snr);  // at SNR 0, too
  }
  return prediction_type == "v_prediction" ? std::min(snr, gamma) / (snr + 1.0) : std::min(snr, gamma);
}

// Numbers of images that are looked at together: those of one size in their order, up to 64 at a time.
std::vector<std::vector<std::size_t>> batches_of_one_size(const std::vector<Image>& images) {
  constexpr std::size_t most = 64;
  std::map<ImageSize, std::vector<std::size_t>> by_size;
  for (std::size_t i = 0; i < images.size(); ++i) {
    by_size[{images[i].height, images[i].width}].push_back(i);
  }
  std::vector<std::vector<std::size_t>> batches;
  for (const auto& [size, numbers] : by_size) {
    for (std::size_t first = 0; first < numbers.size(); first += most) {
      const std::size_t end = std::min(numbers.size(), first + most);
      batches.emplace_back(numbers.begin() + static_cast<std::ptrdiff_t>(first),
                           numbers.begin() + static_cast<std::ptrdiff_t>(end));
    }
  }
  return batches;
}

struct ValidationDraw {
  at::Tensor noise;      // as the latents
  at::Tensor timesteps;  // int64 [N]
};

// Draw number `draw` of `draws` of these images: one noise level in each of `draws` equal parts of the schedule, which
// makes for less variance than free draws.
ValidationDraw validation_draw(const std::vector<std::size_t>& numbers, const at::Tensor& latents, std::int64_t steps,
                               std::int64_t draw, std::int64_t draws, SeedTree seeds) {
  ValidationDraw drawn{at::empty(latents.sizes(), at::kFloat),
                       at::empty({static_cast<std::int64_t>(numbers.size())}, at::kLong)};
  const auto values = static_cast<std::size_t>(latents[0].numel());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    RandomStream stream = seeds.stream(
        "validation", "", numbers[i] * static_cast<std::uint64_t>(draws) + static_cast<std::uint64_t>(draw));
    const double level = (static_cast<double>(draw) + stream.uniform()) / static_cast<double>(draws);
    drawn.timesteps.data_ptr<std::int64_t>()[i] =
        std::min(steps - 1, static_cast<std::int64_t>(level * static_cast<double>(steps)));
    stream.fill_normal({drawn.noise.data_ptr<float>() + i * values, values});
  }
  return drawn;
}

}  // namespace

DenoisingObjective::DenoisingObjective(const NoiseSchedule& schedule, at::Device device, double min_snr_gamma)
    : prediction_type_(schedule.config().prediction_type),
      signal_(table(schedule, device, [](double alpha_bar) { return std::sqrt(alpha_bar); })),
      sigma_(table(schedule, device, [](double alpha_bar) { return std::sqrt(1.0 - alpha_bar); })) {
  if (min_snr_gamma > 0.0) {
    weights_ = table(schedule, device, [this, min_snr_gamma](double alpha_bar) {
      return min_snr_weight(alpha_bar, min_snr_gamma, prediction_type_);
    });
  }
}

at::Tensor DenoisingObjective::at_timesteps(const at::Tensor& values, const at::Tensor& timesteps) const {
  return values.index_select(0, timesteps).view({-1, 1, 1, 1});
}

at::Tensor DenoisingObjective::noised(const at::Tensor& latents, const LatentNoise& noise,
                                      const at::Tensor& timesteps) const {
  return at::addcmul(at_timesteps(signal_, timesteps) * latents, at_timesteps(sigma_, timesteps),
                     noise.seen.defined() ? noise.seen : noise.added);
}

at::Tensor DenoisingObjective::target(const at::Tensor& latents, const LatentNoise& noise,
                                      const at::Tensor& timesteps) const {
  if (prediction_type_ == "epsilon") {
    return noise.added;
  }
  if (prediction_type_ == "sample") {
    return latents;
  }
  return at::addcmul(at_timesteps(signal_, timesteps) * noise.added, at_timesteps(sigma_, timesteps), latents, -1);
}

at::Tensor DenoisingObjective::loss(const at::Tensor& prediction, const at::Tensor& target,
                                    const at::Tensor& timesteps) const {
  const at::Tensor errors = at::mse_loss(prediction.to(at::kFloat), target, at::Reduction::None).flatten(1).mean(1);
  return weights_.defined() ? errors * weights_.index_select(0, timesteps) : errors;
}

at::Tensor denoising_loss(const DiffusionModel& model, const DenoisingObjective& objective, const at::Tensor& latents,
                          const LatentNoise& noise, const at::Tensor& timesteps, const at::Tensor& text) {
  const at::Tensor prediction = model.unet->forward(objective.noised(latents, noise, timesteps), timesteps, text);
  return objective.loss(prediction, objective.target(latents, noise, timesteps), timesteps);
}

std::vector<double> denoising_losses(const DiffusionModel& model, const std::vector<Image>& images,
                                     const std::vector<std::string>& captions, SeedTree seeds, std::int64_t clip_skip,
                                     std::int64_t draws) {
  SOUP_REQUIRE(images.size() == captions.size(), "one caption per image");
  const at::NoGradGuard no_grad;
  const DenoisingObjective objective(*model.schedule, model.device());
  std::vector<double> losses(images.size(), 0.0);
  for (const std::vector<std::size_t>& numbers : batches_of_one_size(images)) {
    std::vector<Image> of_batch;
    std::vector<std::string> texts;
    for (const std::size_t number : numbers) {
      of_batch.push_back(images[number]);
      texts.push_back(captions[number]);
    }
    const at::Tensor text = model.encode_text(texts, nullptr, clip_skip);
    const at::Tensor latents = model.encode_images(to_tensor(of_batch));
    for (std::int64_t draw = 0; draw < draws; ++draw) {
      const ValidationDraw drawn = validation_draw(numbers, latents, model.schedule->steps(), draw, draws, seeds);
      const at::Tensor loss = denoising_loss(model, objective, latents, {.added = drawn.noise.to(model.device())},
                                             drawn.timesteps.to(model.device()), text)
                                  .cpu();
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        losses[numbers[i]] += loss.data_ptr<float>()[i] / static_cast<double>(draws);
      }
    }
  }
  return losses;
}

}  // namespace soup
