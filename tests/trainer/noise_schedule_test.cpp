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

class ScheduleParity : public testing::TestWithParam<std::tuple<const char*, double, double>> {
 protected:
  SafetensorsFile file_{std::string(SOUP_SOURCE_DIR) + "/tests/fixtures/parity/schedule/schedules.safetensors"};
};

TEST_P(ScheduleParity, AlphaBarsAreDiffusersFloats) {
  const auto& [name, start, end] = GetParam();
  ScheduleConfig config;
  config.beta_schedule = name;
  config.beta_start = start;
  config.beta_end = end;
  const NoiseSchedule schedule(config);
  const std::vector<float> expected = values<float>(file_, std::string(name) + ".alphas_cumprod");
  ASSERT_EQ(schedule.steps(), static_cast<std::int64_t>(expected.size()));
  for (std::size_t t = 0; t < expected.size(); ++t) {
    // linspace may contract a product and a sum into one rounding: one unit in the last place of a factor.
    EXPECT_NEAR(schedule.alpha_bar(static_cast<std::int64_t>(t)), expected[t], 2e-6 * expected[t]) << t;
  }
}

TEST_P(ScheduleParity, SamplingTimesteps) {
  const NoiseSchedule schedule{ScheduleConfig()};
  for (const std::int64_t steps : {7, 25}) {
    EXPECT_EQ(schedule.sampling_timesteps(steps),
              values<std::int64_t>(
                  file_, std::string(std::get<0>(GetParam())) + ".epsilon." + std::to_string(steps) + ".timesteps"));
  }
}

INSTANTIATE_TEST_SUITE_P(Schedules, ScheduleParity,
                         testing::Values(std::make_tuple("linear", 0.0001, 0.02),
                                         std::make_tuple("scaled_linear", 0.00085, 0.012),
                                         std::make_tuple("squaredcos_cap_v2", 0.0001, 0.02)));

TEST(NoiseSchedule, AlphaBarFallsAndStaysPositive) {
  const NoiseSchedule schedule{ScheduleConfig()};
  for (std::int64_t t = 1; t < schedule.steps(); ++t) {
    EXPECT_LT(schedule.alpha_bar(t), schedule.alpha_bar(t - 1));
    EXPECT_GT(schedule.alpha_bar(t), 0.0);
  }
}

TEST(NoiseSchedule, TheFullScheduleStaysInRange) {
  const NoiseSchedule schedule{ScheduleConfig()};
  const std::vector<std::int64_t> all = schedule.sampling_timesteps(1000);
  EXPECT_EQ(all.front(), 999);
  EXPECT_EQ(all.back(), 1);
  EXPECT_EQ(schedule.sampling_timesteps(1), std::vector<std::int64_t>{1});
}

TEST(NoiseSchedule, ImpossibleRequestsAreRefused) {
  const NoiseSchedule schedule{ScheduleConfig()};
  EXPECT_THROW((void)schedule.sampling_timesteps(0), ConfigError);
  EXPECT_THROW((void)schedule.sampling_timesteps(1001), ConfigError);
  ScheduleConfig config;
  config.beta_schedule = "square";
  EXPECT_THROW(NoiseSchedule{config}, ConfigError);
}

}  // namespace
}  // namespace soup
