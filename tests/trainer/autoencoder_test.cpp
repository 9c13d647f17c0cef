// Autoencoders without weights, on values whose place can be read off.
#include "trainer/autoencoder.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"

namespace soup {
namespace {

TEST(Autoencoder, IdentityChangesNothing) {
  const auto identity = make_autoencoder("identity");
  const at::Tensor images = at::arange(24, at::kFloat).view({1, 2, 3, 4});
  EXPECT_TRUE(at::equal(identity->encode(images), images));
  EXPECT_TRUE(at::equal(identity->decode(images), images));
  EXPECT_TRUE(at::equal(identity->latents(images, {}), images));
  EXPECT_FALSE(identity->samples());
  EXPECT_EQ(identity->network(), nullptr);
  EXPECT_EQ(identity->factor(), 1);
  EXPECT_EQ(identity->latent_channels(3), 3);
}

TEST(Autoencoder, SpaceToDepthFoldsEachPatchIntoChannels) {
  const auto fold = make_autoencoder("space_to_depth_2");
  const at::Tensor images = at::arange(48, at::kFloat).view({1, 3, 4, 4});
  const at::Tensor latents = fold->encode(images);
  ASSERT_EQ(latents.sizes(), (std::vector<std::int64_t>{1, 12, 2, 2}));
  for (std::int64_t channel = 0; channel < 12; ++channel) {
    for (std::int64_t y = 0; y < 2; ++y) {
      for (std::int64_t x = 0; x < 2; ++x) {
        EXPECT_EQ(latents[0][channel][y][x].item<float>(),
                  images[0][channel / 4][2 * y + channel % 4 / 2][2 * x + channel % 2].item<float>());
      }
    }
  }
  EXPECT_TRUE(at::equal(fold->decode(latents), images));
  EXPECT_EQ(fold->factor(), 2);
  EXPECT_EQ(fold->latent_channels(3), 12);
  EXPECT_THROW(fold->encode(at::zeros({1, 3, 4, 5})), InvariantError);
}

TEST(Autoencoder, AnUnknownNameIsRefusedWithTheNearest) {
  try {
    make_autoencoder("space_to_depth2");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.hint(), testing::HasSubstr("space_to_depth_2"));
  }
}

}  // namespace
}  // namespace soup
