// What is said of GPUs and NCCL, and which NCCL is refused: on made-up inventories, without CUDA.
#include "launch/gpu_inventory.hpp"

#include <gmock/gmock.h>

namespace soup {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

GpuInventory two_gpus() {
  GpuInventory inventory{.cuda_built = true, .cuda_driver = 13020, .cuda_runtime = 13000};
  inventory.gpus = {
      {0, "NVIDIA H200", 9, 0, 150'000'000'000, "0000:1b:00.0", "GPU-01020304-0506-0708-090a-0b0c0d0e0f10"},
      {1, "NVIDIA A100-SXM4-80GB", 8, 0, 85'000'000'000, "0000:43:00.0", "GPU-ff020304-0506-0708-090a-0b0c0d0e0f10"}};
  inventory.nccl_compiled = 22809;
  inventory.nccl_loaded = 22809;
  inventory.nccl_path = "/wheel/nvidia/nccl/lib/libnccl.so.2";
  inventory.nccl_copies = {inventory.nccl_path};
  return inventory;
}

GpuInventory no_gpu(int driver, std::string why) {
  GpuInventory inventory = two_gpus();
  inventory.gpus.clear();
  inventory.cuda_driver = driver;
  inventory.why_none = std::move(why);
  return inventory;
}

TEST(GpuInventory, SpellsVersionsAsTheirMakersDo) {
  EXPECT_EQ(cuda_version_text(13000), "13.0");
  EXPECT_EQ(cuda_version_text(12040), "12.4");
  EXPECT_EQ(nccl_version_text(22809), "2.28.9");
  EXPECT_EQ(nccl_version_text(23003), "2.30.3");
  EXPECT_EQ(nccl_version_text(20901), "2.9.1");
  EXPECT_EQ(nccl_version_text(2804), "2.8.4") << "up to 2.8 NCCL counted in thousands";
}

TEST(GpuInventory, DescribesEveryGpuAndTheLoadedNccl) {
  EXPECT_EQ(describe(two_gpus()),
            "GPUs: 2 (CUDA driver 13.2, runtime 13.0)\n"
            "  0  NVIDIA H200, compute capability 9.0, 140 GiB, 0000:1b:00.0, "
            "GPU-01020304-0506-0708-090a-0b0c0d0e0f10\n"
            "  1  NVIDIA A100-SXM4-80GB, compute capability 8.0, 79 GiB, 0000:43:00.0, "
            "GPU-ff020304-0506-0708-090a-0b0c0d0e0f10\n"
            "NCCL: 2.28.9, /wheel/nvidia/nccl/lib/libnccl.so.2\n");
}

TEST(GpuInventory, SaysWhyThereIsNone) {
  EXPECT_EQ(describe({}), "GPUs: built without CUDA\n");
  EXPECT_THAT(describe(no_gpu(0, "cudaGetDeviceCount: insufficient driver")),
              testing::StartsWith("GPUs: none, no NVIDIA driver is installed (CUDA runtime 13.0)\nNCCL: 2.28.9"));
  EXPECT_THAT(describe(no_gpu(12080, "cudaGetDeviceCount: insufficient driver")),
              HasSubstr("none, the driver offers CUDA 12.8, this build needs 13.0: install a newer driver"));
  EXPECT_THAT(describe(no_gpu(13000, "cudaGetDeviceCount: no CUDA-capable device is detected")),
              HasSubstr("none, cudaGetDeviceCount: no CUDA-capable device is detected (CUDA runtime 13.0)"));
}

TEST(GpuInventory, FindsEveryCopyOfNcclInMaps) {
  const std::string one =
      "55d0c8a00000-55d0c8a21000 r--p 00000000 fe:00 131                        /opt/soup/soup-torch\n"
      "7f1c00000000-7f1c00021000 rw-p 00000000 00:00 0 \n"
      "7f1c10000000-7f1c11000000 r--p 00000000 fe:00 262                        /wheel/nccl/lib/libnccl.so.2\n"
      "7f1c11000000-7f1c12000000 r-xp 01000000 fe:00 262                        /wheel/nccl/lib/libnccl.so.2\n"
      "7f1c20000000-7f1c20001000 r-xp 00000000 fe:00 393                        /opt/plugin/libnccl-net.so\n"
      "7f1c21000000-7f1c21001000 r-xp 00000000 fe:00 394                        /opt/libnccl.so.d/libother.so.2\n";
  EXPECT_THAT(nccl_copies_in(one), ElementsAre("/wheel/nccl/lib/libnccl.so.2"));
  const std::string two =
      one +
      "7f1c30000000-7f1c31000000 r-xp 00000000 fe:00 524      /opt/cuda 13/lib64/libnccl.so.2.28.9\n"
      "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0        [stack]";
  EXPECT_THAT(nccl_copies_in(two), ElementsAre("/wheel/nccl/lib/libnccl.so.2", "/opt/cuda 13/lib64/libnccl.so.2.28.9"));
  EXPECT_THAT(nccl_copies_in(""), IsEmpty());
}

TEST(GpuInventory, AcceptsTheOneNcclItWasBuiltWith) {
  EXPECT_FALSE(nccl_problem(two_gpus()).has_value());
  EXPECT_FALSE(nccl_problem(no_gpu(0, "no driver")).has_value()) << "without a GPU nothing is wrong with NCCL";
  EXPECT_FALSE(nccl_problem({}).has_value());
}

TEST(GpuInventory, RefusesAnotherVersionNamingBoth) {
  GpuInventory inventory = two_gpus();
  inventory.nccl_loaded = 22703;
  const std::optional<Error> problem = nccl_problem(inventory);
  ASSERT_TRUE(problem.has_value());
  EXPECT_EQ(problem->exit_code(), ExitCode::communication);
  EXPECT_EQ(problem->message(),
            "NCCL: soup was compiled against 2.28.9, but 2.27.3 is loaded from /wheel/nvidia/nccl/lib/libnccl.so.2");
  EXPECT_THAT(problem->hint(), HasSubstr("LD_PRELOAD"));
}

TEST(GpuInventory, RefusesTwoCopiesNamingBoth) {
  GpuInventory inventory = two_gpus();
  inventory.nccl_copies.emplace_back("/toolkit/lib64/libnccl.so.2");
  inventory.nccl_loaded = 22703;
  const std::optional<Error> problem = nccl_problem(inventory);
  ASSERT_TRUE(problem.has_value());
  EXPECT_EQ(problem->exit_code(), ExitCode::communication);
  EXPECT_EQ(problem->message(),
            "NCCL: 2 copies are in this process: /wheel/nvidia/nccl/lib/libnccl.so.2 and /toolkit/lib64/libnccl.so.2")
      << "the cause of a wrong version, so it comes first";
}

}  // namespace
}  // namespace soup
