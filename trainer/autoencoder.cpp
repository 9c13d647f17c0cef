// The two autoencoders without weights: pixels as they are, and 2 x 2 pixels folded into channels.
#include "trainer/autoencoder.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {
namespace {

// What both have in common: the moments are the latents, and nothing is drawn.
class Weightless : public Autoencoder {
 public:
  at::Tensor latents(const at::Tensor& moments, const at::Tensor& /*noise*/) const override { return moments; }
  bool samples() const override { return false; }
  torch::nn::Module* network() override { return nullptr; }
};

class Identity : public Weightless {
 public:
  at::Tensor encode(const at::Tensor& images) const override { return images; }
  at::Tensor decode(const at::Tensor& latents) const override { return latents; }
  std::int64_t factor() const override { return 1; }
  std::int64_t latent_channels(std::int64_t image_channels) const override { return image_channels; }
  std::string name() const override { return "identity"; }
};

// Invertible; latent channel c * 4 + 2 * row + column holds that pixel of each 2 x 2 patch of channel c.
class SpaceToDepth2 : public Weightless {
 public:
  at::Tensor encode(const at::Tensor& images) const override {
    SOUP_REQUIRE(images.size(-1) % 2 == 0 && images.size(-2) % 2 == 0,
                 fmt::format("space_to_depth_2 needs even sizes, not {} x {}", images.size(-2), images.size(-1)));
    return at::pixel_unshuffle(images, 2);
  }
  at::Tensor decode(const at::Tensor& latents) const override { return at::pixel_shuffle(latents, 2); }
  std::int64_t factor() const override { return 2; }
  std::int64_t latent_channels(std::int64_t image_channels) const override { return 4 * image_channels; }
  std::string name() const override { return "space_to_depth_2"; }
};

}  // namespace

std::unique_ptr<Autoencoder> make_autoencoder(const std::string& name) {
  if (name == "identity") {
    return std::make_unique<Identity>();
  }
  if (name == "space_to_depth_2") {
    return std::make_unique<SpaceToDepth2>();
  }
  const std::vector<std::string> names = {"identity", "space_to_depth_2"};
  const std::string near = nearest(name, names);
  throw ConfigError(fmt::format("unknown autoencoder \"{}\", only identity and space_to_depth_2 exist", name),
                    near.empty() ? "" : fmt::format("did you mean {}?", near));
}

}  // namespace soup
