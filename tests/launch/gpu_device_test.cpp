// The inventory on a host with GPUs, against what the driver's own tool says.
#include <gmock/gmock.h>

#include <string>

#include "launch/gpu_inventory.hpp"
#include "tests/support/command.hpp"

namespace soup {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class GpuDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (inventory_.gpus.empty()) {
      GTEST_SKIP() << "needs a GPU; " << describe(inventory_);
    }
  }

  const GpuInventory inventory_ = probe_gpus();
};

TEST_F(GpuDeviceTest, FillsEveryField) {
  EXPECT_GE(inventory_.cuda_driver, inventory_.cuda_runtime / 1000 * 1000);
  EXPECT_EQ(inventory_.why_none, "");
  int index = 0;
  for (const Gpu& gpu : inventory_.gpus) {
    EXPECT_EQ(gpu.index, index++);
    EXPECT_NE(gpu.name, "");
    EXPECT_GE(gpu.compute_major, 7) << "CUDA 13 knows none older";
    EXPECT_GE(gpu.compute_minor, 0);
    EXPECT_GT(gpu.memory_bytes, 1ULL << 30);
    EXPECT_THAT(gpu.pci_bus_id, MatchesRegex("[0-9A-Fa-f]+:[0-9A-Fa-f]+:[0-9A-Fa-f]+\\.[0-9A-Fa-f]+"));
    EXPECT_THAT(gpu.uuid, MatchesRegex("GPU-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+"));
  }
}

TEST_F(GpuDeviceTest, AgreesWithNvidiaSmi) {
  const auto [code, listed] = test::run_command("nvidia-smi --list-gpus");
  ASSERT_EQ(code, 0) << "nvidia-smi comes with the driver\n" << listed;
  for (const Gpu& gpu : inventory_.gpus) {
    EXPECT_THAT(listed, HasSubstr(gpu.name));
    EXPECT_THAT(listed, HasSubstr(gpu.uuid));
  }
}

}  // namespace
}  // namespace soup
