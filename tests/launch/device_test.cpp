// Which device a process gets.
#include "launch/device.hpp"

#include <gmock/gmock.h>

#include "core/error.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

GpuInventory with_gpus(int count) {
  GpuInventory gpus{.cuda_built = true, .cuda_driver = 13000, .cuda_runtime = 13000};
  for (int i = 0; i < count; ++i) {
    gpus.gpus.push_back({i, "GPU of a test", 9, 0, 1ULL << 36, "0000:1b:00.0", "GPU-01020304"});
  }
  return gpus;
}

TEST(ChooseDevice, AutoTakesAGpuWhereThereIsOne) {
  EXPECT_FALSE(choose_device("auto", {}).is_gpu());
  EXPECT_FALSE(choose_device("auto", with_gpus(0), 3).is_gpu());
  EXPECT_EQ(choose_device("auto", with_gpus(1)).gpu, 0);
  EXPECT_FALSE(choose_device("cpu", with_gpus(2), 1).is_gpu());
}

TEST(ChooseDevice, EachRankOfAHostItsOwnAndThenInTurn) {
  for (int rank = 0; rank < 6; ++rank) {
    EXPECT_EQ(choose_device("cuda", with_gpus(4), rank).gpu, rank % 4);
  }
}

TEST(ChooseDevice, SaysWhyThereIsNone) {
  const auto refusal = [](const GpuInventory& gpus) -> std::string {
    try {
      choose_device("cuda", gpus);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal({}), HasSubstr("built without CUDA"));
  GpuInventory none = with_gpus(0);
  none.why_none = "no CUDA-capable device is detected";
  EXPECT_THAT(refusal(none), HasSubstr("no CUDA-capable device"));
  none.cuda_driver = 0;
  EXPECT_THAT(refusal(none), HasSubstr("no NVIDIA driver"));
  none.cuda_driver = 12040;
  EXPECT_THAT(refusal(none), HasSubstr("newer driver"));
}

TEST(ChooseDevice, IsDescribed) {
  EXPECT_EQ(describe(ComputeDevice(), with_gpus(1)), "the CPU");
  EXPECT_EQ(describe(ComputeDevice{1}, with_gpus(2)), "GPU 1 (GPU of a test)");
}

}  // namespace
}  // namespace soup
