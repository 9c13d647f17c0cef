// AdamW, its schedule and the EMA against plain double arithmetic written from the papers.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/module.h>

#include <array>
#include <cmath>

#include "tests/trainer/tiny.hpp"
#include "trainer/adamw.hpp"
#include "trainer/ema.hpp"
#include "trainer/flat_state.hpp"

namespace soup {
namespace {

TEST(FlatState, ParametersAndGradientsAreViews) {
  DiffusionModel model = test::tiny_model();
  FlatState state({{"unet", model.unet.get()}});
  ASSERT_EQ(state.segments().size(), 2U);
  const auto decayed = static_cast<std::uint64_t>(state.segments()[0].end);
  EXPECT_EQ(state.layout().count(), static_cast<std::uint64_t>(state.weights().numel()));
  bool decaying = true;
  for (const TensorSlot& slot : state.layout().slots()) {
    ASSERT_TRUE(slot.name.starts_with("unet."));
    const bool matrix = slot.shape.size() >= 2;
    EXPECT_EQ(matrix, slot.offset < decayed) << slot.name;
    EXPECT_TRUE(decaying || !matrix) << slot.name << " after tensors without decay";
    decaying = matrix;
    const at::Tensor parameter = model.unet->named_parameters()[slot.name.substr(5)];
    EXPECT_EQ(parameter.data_ptr<float>(), state.weights().data_ptr<float>() + slot.offset) << slot.name;
    EXPECT_EQ(parameter.grad().data_ptr<float>(), state.gradients().data_ptr<float>() + slot.offset) << slot.name;
  }
  const at::Tensor latents = at::ones({2, 3, 8, 8});
  model.unet->forward(latents, at::tensor({1L, 2L}), at::ones({2, 8, 16})).sum().backward();
  EXPECT_GT(state.gradients().abs().sum().item<float>(), 0.0F);
  EXPECT_EQ(state.first_non_finite(state.weights()), "");
}

TEST(AdamW, MatchesThePaperInDouble) {
  DiffusionModel model = test::tiny_model();
  FlatState state({{"unet", model.unet.get()}});
  TrainConfig config;
  config.weight_decay = 0.1;
  AdamW optimizer(state, config);
  const std::int64_t count = state.weights().numel();
  const std::int64_t decayed = state.segments()[0].end;
  const std::int64_t places[] = {0, decayed - 1, decayed, count - 1};
  for (const std::int64_t place : places) {
    state.weights()[place] = 0.5;
  }
  double w[4] = {0.5, 0.5, 0.5, 0.5};
  double m[4] = {0, 0, 0, 0};
  double v[4] = {0, 0, 0, 0};
  const double rate = 0.01;
  for (int step = 1; step <= 5; ++step) {
    for (int k = 0; k < 4; ++k) {
      const double gradient = 0.3 * (k + 1) - 0.2 * step;
      state.gradients()[places[k]] = gradient;
      const double decay = places[k] < decayed ? config.weight_decay : 0.0;
      m[k] = config.beta1 * m[k] + (1 - config.beta1) * gradient;
      v[k] = config.beta2 * v[k] + (1 - config.beta2) * gradient * gradient;
      const double corrected_m = m[k] / (1 - std::pow(config.beta1, step));
      const double corrected_v = v[k] / (1 - std::pow(config.beta2, step));
      w[k] -= rate * decay * w[k];
      w[k] -= rate * corrected_m / (std::sqrt(corrected_v) + config.epsilon);
    }
    optimizer.step(std::array<double, 1>{rate});
  }
  EXPECT_EQ(optimizer.steps(), 5U);
  for (int k = 0; k < 4; ++k) {
    EXPECT_NEAR(state.weights()[places[k]].item<double>(), w[k], 1e-5) << k;
  }
}

TEST(LearningRate, WarmsUpThenFalls) {
  TrainConfig config;
  config.images = 10000;
  config.batch = 100;
  config.learning_rate = 1.0;
  config.warmup_images = 1000;
  config.final_lr_fraction = 0.1;
  EXPECT_NEAR(learning_rate_at(config, 0), 100.0 / 1100.0, 1e-12);
  EXPECT_NEAR(learning_rate_at(config, 1000), 1.0, 1e-12);
  EXPECT_NEAR(learning_rate_at(config, 5500), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate_at(config, 10000), 0.1, 1e-12);
  config.lr_schedule = "linear";
  EXPECT_NEAR(learning_rate_at(config, 3250), 0.775, 1e-12);
  EXPECT_NEAR(learning_rate_at(config, 10000), 0.1, 1e-12);
  config.lr_schedule = "constant";
  EXPECT_EQ(learning_rate_at(config, 9900), 1.0);
}

TEST(Ema, HalfLifeIsInImages) {
  TrainConfig config;
  config.batch = 10;
  config.ema_halflife_images = 1000;
  config.ema_rampup = 0.05;
  EXPECT_NEAR(std::pow(ema_decay(config, 1000000), 100.0), 0.5, 1e-12);
  EXPECT_NEAR(ema_decay(config, 200), 0.5, 1e-12);  // half-life 10 images so early
  at::Tensor ema = at::zeros({2});
  update_ema(ema, at::full({2}, 8.0), 0.75);
  EXPECT_EQ(ema[1].item<float>(), 2.0F);
}

}  // namespace
}  // namespace soup
