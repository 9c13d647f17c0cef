// The images of all soups of a sweep, and their sheet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/image.hpp"
#include "trainer/model.hpp"
#include "trainer/sampler.hpp"

namespace soup {

struct SweepRendering {
  std::vector<std::string> prompts;
  std::int64_t count = 1;  // of each prompt
  WeightSet weights = WeightSet::raw;
  SampleOptions options;
  std::uint64_t seed = 0;
  int zoom = 1;
  at::Device device = at::kCPU;
};

// Every soup of a sweep's folder on the same initial noise, one model in memory at a time, in the sheet that
// sweep_layout describes. Throws DataError for what is no sweep, ConfigError for a sheet that is too large.
Image render_sweep(const std::string& folder, const SweepRendering& how);

}  // namespace soup
