// Losses of held-out images: the objective by hand, and the same for an image whatever sizes the others have.
#include "trainer/denoising_loss.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "tests/data/samples.hpp"
#include "tests/trainer/tiny.hpp"
#include "trainer/pixels.hpp"

namespace soup {
namespace {

class DenoisingLosses : public testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  DiffusionModel model = test::tiny_model();
  const SeedTree seeds{7};
};

TEST_F(DenoisingLosses, AreTheObjectiveOnTheStreamsOfTheImagesNumbers) {
  const at::NoGradGuard no_grad;
  std::vector<Image> images;
  std::vector<std::string> captions;
  for (std::uint64_t i = 0; i < 70; ++i) {  // more than are looked at together
    images.push_back(test::noise_image(8, 8, 3, i));
    captions.push_back(i % 2 == 0 ? "red" : "blue");
  }
  const std::vector<double> losses = denoising_losses(model, images, captions, seeds, 1, 2);
  ASSERT_EQ(losses.size(), 70U);
  const DenoisingObjective objective(*model.schedule, at::kCPU);
  for (const std::size_t image : {0U, 1U, 69U}) {
    double expected = 0.0;
    for (std::uint64_t draw = 0; draw < 2; ++draw) {
      RandomStream stream = seeds.stream("validation", "", image * 2 + draw);
      const auto timestep = static_cast<std::int64_t>((static_cast<double>(draw) + stream.uniform()) / 2.0 * 1000.0);
      const at::Tensor noise = at::empty({1, 3, 8, 8});
      stream.fill_normal({noise.data_ptr<float>(), 192});
      const at::Tensor loss = denoising_loss(model, objective, to_tensor({images[image]}), {.added = noise},
                                             at::full({1}, timestep, at::kLong), model.encode_text({captions[image]}));
      expected += loss.item<double>() / 2.0;
    }
    // Sums of float32 in batches of another length.
    EXPECT_NEAR(losses[image], expected, 1e-6 * expected) << image;
  }
}

TEST_F(DenoisingLosses, DoNotDependOnTheOtherImagesSizes) {
  std::vector<Image> square;
  std::vector<Image> mixed;
  std::vector<std::string> captions;
  for (std::uint64_t i = 0; i < 12; ++i) {
    square.push_back(test::noise_image(8, 8, 3, i));
    mixed.push_back(i % 3 == 0 ? square.back() : test::noise_image(i % 3 == 1 ? 4 : 12, i % 3 == 1 ? 16 : 6, 3, i));
    captions.emplace_back("green");
  }
  const std::vector<double> alone = denoising_losses(model, square, captions, seeds);
  const std::vector<double> together = denoising_losses(model, mixed, captions, seeds);
  for (std::size_t i = 0; i < alone.size(); i += 3) {
    EXPECT_NEAR(together[i], alone[i], 1e-6 * alone[i]) << i;
  }
  EXPECT_GT(std::abs(together[1] - alone[1]), 1e-4);
  std::vector<Image> reversed(mixed.rbegin(), mixed.rend());
  EXPECT_NE(denoising_losses(model, reversed, captions, seeds)[0], together[11]) << "noise goes by an image's number";
  EXPECT_TRUE(denoising_losses(model, {}, {}, seeds).empty());
  EXPECT_THROW(denoising_losses(model, square, {"one"}, seeds), InvariantError);
}

}  // namespace
}  // namespace soup
