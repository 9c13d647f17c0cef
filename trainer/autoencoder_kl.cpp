// AutoencoderKL and what of it the rest of soup sees.
#include "trainer/autoencoder_kl.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <functional>
#include <vector>

#include "core/error.hpp"

namespace soup {
namespace {

// diffusers' limits of the log variance, so that its exponential stays finite.
constexpr double least_log_variance = -30.0;
constexpr double most_log_variance = 20.0;

class KLAutoencoder : public Autoencoder {
 public:
  explicit KLAutoencoder(std::shared_ptr<AutoencoderKL> network) : network_(std::move(network)) {
    for (at::Tensor& parameter : network_->parameters()) {
      parameter.set_requires_grad(false);
    }
  }

  at::Tensor encode(const at::Tensor& images) const override {
    return by_image(images, [this](const at::Tensor& some) { return network_->encode(some); });
  }

  at::Tensor latents(const at::Tensor& moments, const at::Tensor& noise) const override {
    const std::vector<at::Tensor> halves = moments.chunk(2, 1);
    if (!noise.defined()) {
      return halves[0] * config().scaling_factor;
    }
    SOUP_REQUIRE(noise.sizes() == halves[0].sizes(), "the noise must be as large as the latents");
    // mean + sigma eps (Kingma and Welling 2014, section 2.4).
    const at::Tensor sigma = at::exp(0.5 * halves[1].clamp(least_log_variance, most_log_variance));
    return at::addcmul(halves[0], sigma, noise) * config().scaling_factor;
  }

  at::Tensor decode(const at::Tensor& latents) const override {
    return by_image(latents / config().scaling_factor,
                    [this](const at::Tensor& some) { return network_->decode(some); });
  }

  bool samples() const override { return true; }
  std::int64_t factor() const override { return config().factor(); }
  std::int64_t latent_channels(std::int64_t /*image_channels*/) const override { return config().latent_channels; }
  std::string name() const override { return "AutoencoderKL"; }
  torch::nn::Module* network() override { return network_.get(); }

 private:
  const AutoencoderKLConfig& config() const { return network_->config(); }

  static at::Tensor by_image(const at::Tensor& batch, const std::function<at::Tensor(const at::Tensor&)>& map) {
    if (!batch.device().is_cpu() || batch.size(0) <= 1) {
      return map(batch);
    }
    std::vector<at::Tensor> results;
    for (const at::Tensor& one : batch.split(1)) {
      results.push_back(map(one));
    }
    return at::cat(results);
  }

  std::shared_ptr<AutoencoderKL> network_;
};

}  // namespace

AutoencoderKL::AutoencoderKL(const AutoencoderKLConfig& config) : config_(config) {
  if (const std::string problem = config.problem(); !problem.empty()) {
    throw ConfigError("autoencoder: " + problem);
  }
  const std::int64_t channels = config.latent_channels;
  encoder_ = register_module("encoder", std::make_shared<KLEncoder>(config));
  decoder_ = register_module("decoder", std::make_shared<KLDecoder>(config));
  if (config.use_quant_conv) {
    quant_conv_ = register_module("quant_conv", std::make_shared<Conv2d>(2 * channels, 2 * channels, 1));
  }
  if (config.use_post_quant_conv) {
    post_quant_conv_ = register_module("post_quant_conv", std::make_shared<Conv2d>(channels, channels, 1));
  }
}

at::Tensor AutoencoderKL::encode(const at::Tensor& images) const {
  const std::int64_t factor = config_.factor();
  SOUP_REQUIRE(
      images.dim() == 4 && images.size(1) == config_.in_channels && images.size(2) % factor == 0 &&
          images.size(3) % factor == 0,
      fmt::format("images must be [N, {}, H, W] with sides that are multiples of {}", config_.in_channels, factor));
  const at::Tensor moments = encoder_->forward(images);
  return quant_conv_ ? quant_conv_->forward(moments) : moments;
}

at::Tensor AutoencoderKL::decode(const at::Tensor& latents) const {
  SOUP_REQUIRE(latents.dim() == 4 && latents.size(1) == config_.latent_channels,
               fmt::format("latents must be [N, {}, h, w]", config_.latent_channels));
  return decoder_->forward(post_quant_conv_ ? post_quant_conv_->forward(latents) : latents);
}

std::unique_ptr<Autoencoder> make_autoencoder(std::shared_ptr<AutoencoderKL> network) {
  return std::make_unique<KLAutoencoder>(std::move(network));
}

}  // namespace soup
