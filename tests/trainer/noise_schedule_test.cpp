// The noise schedule against diffusers' DDIMScheduler, value for value.
#include "trainer/noise_schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/error.hpp"
#include "core/safetensors.hpp"

namespace soup {
namespace {

template <class Value>
std::vector<Value> values(const SafetensorsFile& file, const std::string& name) {
  const std::span<const std::byte> bytes = file.bytes(*file.find(name));
  std::vector<Value> result(bytes.size() / sizeof(Value));
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

class ScheduleParity : public testing::TestWithParam<std::tuple<const char*, double, double, bool>> {
 protected:
  SafetensorsFile file_{std::string(SOUP_SOURCE_DIR) + "/tests/fixtures/parity/schedule/schedules.safetensors"};
};

TEST_P(ScheduleParity, AlphaBarsAreDiffusersFloats) {
  const auto& [name, start, end, zero_snr] = GetParam();
  ScheduleConfig config;
  config.beta_schedule = name;
  config.beta_start = start;
  config.beta_end = end;
  config.rescale_betas_zero_snr = zero_snr;
  const NoiseSchedule schedule(config);
  const std::vector<float> expected =
      values<float>(file_, std::string(name) + (zero_snr ? ".zero_snr" : "") + ".alphas_cumprod");
  ASSERT_EQ(schedule.steps(), static_cast<std::int64_t>(expected.size()));
  for (std::size_t t = 0; t < expected.size(); ++t) {
    // linspace may contract a product and a sum into one rounding: one unit in the last place of a factor. Towards zero
    // SNR a difference of nearly equal roots magnifies it.
    const double tolerance = zero_snr ? 1e-5 * expected[t] + 1e-7 * std::sqrt(expected[t]) : 2e-6 * expected[t];
    EXPECT_NEAR(schedule.alpha_bar(static_cast<std::int64_t>(t)), expected[t], tolerance) << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Schedules, ScheduleParity,
                         testing::Values(std::make_tuple("linear", 0.0001, 0.02, false),
                                         std::make_tuple("scaled_linear", 0.00085, 0.012, false),
                                         std::make_tuple("squaredcos_cap_v2", 0.0001, 0.02, false),
                                         std::make_tuple("linear", 0.0001, 0.02, true),
                                         std::make_tuple("scaled_linear", 0.00085, 0.012, true),
                                         std::make_tuple("squaredcos_cap_v2", 0.0001, 0.02, true)));

TEST(NoiseSchedule, AlphaBarFallsAndStaysPositive) {
  const NoiseSchedule schedule{ScheduleConfig()};
  for (std::int64_t t = 1; t < schedule.steps(); ++t) {
    EXPECT_LT(schedule.alpha_bar(t), schedule.alpha_bar(t - 1));
    EXPECT_GT(schedule.alpha_bar(t), 0.0);
  }
}

TEST(NoiseSchedule, ZeroTerminalSnrEndsInPureNoise) {
  ScheduleConfig config;
  config.beta_schedule = "scaled_linear";
  const NoiseSchedule plain(config);
  config.rescale_betas_zero_snr = true;
  const NoiseSchedule rescaled(config);
  EXPECT_EQ(rescaled.alpha_bar(999), 0.0);
  EXPECT_NEAR(rescaled.alpha_bar(0), plain.alpha_bar(0), 2e-7);
  EXPECT_LT(rescaled.alpha_bar(500), plain.alpha_bar(500));
}

TEST(NoiseSchedule, ImpossibleRequestsAreRefused) {
  ScheduleConfig config;
  config.beta_schedule = "square";
  EXPECT_THROW(NoiseSchedule{config}, ConfigError);
  config = ScheduleConfig();
  config.rescale_betas_zero_snr = true;
  config.prediction_type = "epsilon";
  EXPECT_THROW(NoiseSchedule{config}, ConfigError);
}

}  // namespace
}  // namespace soup
