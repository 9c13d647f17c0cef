// The real libraries of this build: which NCCL is in the process, and that hosts without a GPU or driver are no error.
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <filesystem>
#include <memory>
#include <string>

#include "core/atomic_file.hpp"
#include "launch/gpu_inventory.hpp"
#include "tests/support/command.hpp"

namespace soup {
namespace {

using test::Outcome;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

Outcome print_gpus(const std::string& variables) {
  return test::run_command(variables + " " PRINT_GPUS);
}

std::size_t nccl_copies_here() {
  return nccl_copies_in(read_file("/proc/self/maps")).size();
}

TEST(GpuProbe, SeesCopiesOfNcclComeAndGo) {
  const std::size_t before = nccl_copies_here();
  {
    using Library = std::unique_ptr<void, int (*)(void*)>;
    const Library first(dlopen(OTHER_NCCL, RTLD_NOW | RTLD_LOCAL), dlclose);
    ASSERT_NE(first, nullptr) << dlerror();
    EXPECT_EQ(nccl_copies_here(), before + 1);
    const Library second(dlopen(SECOND_NCCL, RTLD_NOW | RTLD_LOCAL), dlclose);
    ASSERT_NE(second, nullptr) << dlerror();
    EXPECT_EQ(nccl_copies_here(), before + 2);
  }
  EXPECT_EQ(nccl_copies_here(), before);
}

#ifdef SOUP_CUDA

TEST(GpuProbe, LoadsTheOneNcclOfLibTorchsFolder) {
  const GpuInventory inventory = probe_gpus();
  EXPECT_TRUE(inventory.cuda_built);
  EXPECT_EQ(inventory.nccl_compiled, 22809) << "what torch 2.11.0 pins";
  EXPECT_EQ(inventory.nccl_loaded, inventory.nccl_compiled);
  EXPECT_TRUE(std::filesystem::equivalent(inventory.nccl_path, NCCL_OF_LIBTORCH)) << inventory.nccl_path;
  ASSERT_EQ(inventory.nccl_copies.size(), 1U);
  EXPECT_TRUE(std::filesystem::equivalent(inventory.nccl_copies.front(), NCCL_OF_LIBTORCH));
  EXPECT_FALSE(nccl_problem(inventory).has_value());
  EXPECT_EQ(inventory.cuda_runtime, 13000) << "of the pinned wheel, not of a toolkit";
}

TEST(GpuProbe, EitherListsGpusOrSaysWhyThereAreNone) {
  const GpuInventory inventory = probe_gpus();
  EXPECT_EQ(inventory.gpus.empty(), !inventory.why_none.empty()) << inventory.why_none;
  const Outcome hidden = print_gpus("CUDA_VISIBLE_DEVICES=");
  EXPECT_EQ(hidden.code, 0);
  EXPECT_THAT(hidden.text, testing::StartsWith("GPUs: none, "));
}

TEST(GpuProbe, IsNotMisledByTheLibraryPath) {
  const std::filesystem::path other = OTHER_NCCL;
  const Outcome outcome = print_gpus("LD_LIBRARY_PATH=" + other.parent_path().string());
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("NCCL: 2.28.9, "));
}

TEST(GpuProbe, RefusesANcclOfAnotherVersion) {
  const Outcome outcome = print_gpus("LD_PRELOAD=" OTHER_NCCL);
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.text, HasSubstr("soup was compiled against 2.28.9, but 2.27.3 is loaded from " OTHER_NCCL));
}

TEST(GpuProbe, RefusesASecondNccl) {
  const Outcome outcome = print_gpus("LD_PRELOAD=" SECOND_NCCL);
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("2 copies are in this process"), HasSubstr(SECOND_NCCL),
                                  HasSubstr("nvidia/nccl/lib/libnccl.so.2"), HasSubstr("\n  hint: ")));
}

#else

TEST(GpuProbe, SaysThatItWasBuiltWithoutCuda) {
  EXPECT_FALSE(probe_gpus().cuda_built);
  EXPECT_THAT(probe_gpus().gpus, IsEmpty());
  const Outcome outcome = print_gpus("");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.text, "GPUs: built without CUDA\n");
}

#endif

}  // namespace
}  // namespace soup
