// environment.json says what a run ran with, and nothing about whose machine it was.
#include "experiments/environment.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

TEST(Environment, NamesProgramLibrariesAndHardware) {
  test::TemporaryFolder folder;
  write_environment(folder.path() / "environment.json", 3, {}, {}, {{"libtorch", "2.11.0"}});
  const auto json = nlohmann::json::parse(read_file(folder.path() / "environment.json"));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("soup"), soup_version());
  EXPECT_EQ(json.at("ranks"), 3);
  EXPECT_GE(json.at("cores").get<int>(), 1);
  EXPECT_EQ(json.at("libraries").at("libtorch"), "2.11.0");
  for (const char* library : {"hdf5", "libvips", "openssl", "nlohmann-json"}) {
    EXPECT_THAT(json.at("libraries").at(library).get<std::string>(), testing::HasSubstr(".")) << library;
  }
  EXPECT_TRUE(json.at("cuda").is_null()) << "built without";
  EXPECT_EQ(json.at("device"), "cpu");
  EXPECT_EQ(environment(1, {}, {.gpu = 0}, {}).at("device"), "cuda");
}

TEST(Environment, NamesGpusAndNcclWhereBuiltWithCuda) {
  GpuInventory gpus{.cuda_built = true, .cuda_runtime = 13000, .why_none = "no driver", .nccl_loaded = 22809};
  EXPECT_EQ(environment(1, gpus, {}, {}).at("cuda").dump(),
            R"({"driver":null,"runtime":"13.0","nccl":"2.28.9","gpus":[]})");
  gpus.cuda_driver = 13010;
  gpus.nccl_path = "/wheel/libnccl.so.2";
  gpus.gpus = {{0, "NVIDIA H200", 9, 0, 150'000'000'000, "0000:1b:00.0", "GPU-01020304"}};
  const std::string text = environment(1, gpus, {}, {}).at("cuda").dump();
  EXPECT_EQ(text, R"({"driver":"13.1","runtime":"13.0","nccl":"2.28.9","gpus":[{"name":"NVIDIA H200",)"
                  R"("compute_capability":"9.0","memory_bytes":150000000000,"pci_bus_id":"0000:1b:00.0"}]})")
      << "neither path nor UUID";
}

TEST(Environment, HoldsNoHostNameAndNoPath) {
  const std::string text = environment(1, {}, {}, {}).dump();
  std::array<char, 256> host{};
  ASSERT_EQ(gethostname(host.data(), host.size() - 1), 0);
  EXPECT_THAT(text, testing::Not(testing::HasSubstr('"' + std::string(host.data()) + '"')));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("\"/"))) << "an absolute path";
}

}  // namespace
}  // namespace soup
