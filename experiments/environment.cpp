#include "experiments/environment.hpp"

#include <fmt/format.h>
#include <hdf5.h>
#include <openssl/crypto.h>
#include <vips/vips.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/atomic_file.hpp"
#include "core/error.hpp"

namespace soup {

namespace {

// As Linux tells it; "unknown" on processors whose cpuinfo has no such line.
std::string processor() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) {
      const std::size_t colon = line.find(": ");
      return colon == std::string::npos ? "unknown" : line.substr(colon + 2);
    }
  }
  return "unknown";
}

std::string hdf5_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  if (H5get_libversion(&major, &minor, &release) < 0) {
    throw InvariantError("H5get_libversion failed");
  }
  return fmt::format("{}.{}.{}", major, minor, release);
}

// null without CUDA built in; "driver" is null without a driver.
nlohmann::ordered_json cuda(const GpuInventory& inventory) {
  if (!inventory.cuda_built) {
    return nullptr;
  }
  nlohmann::ordered_json driver;
  if (inventory.cuda_driver != 0) {
    driver = cuda_version_text(inventory.cuda_driver);
  }
  nlohmann::ordered_json gpus = nlohmann::ordered_json::array();
  for (const Gpu& gpu : inventory.gpus) {
    gpus.push_back({{"name", gpu.name},
                    {"compute_capability", fmt::format("{}.{}", gpu.compute_major, gpu.compute_minor)},
                    {"memory_bytes", gpu.memory_bytes},
                    {"pci_bus_id", gpu.pci_bus_id}});
  }
  return {{"driver", driver},
          {"runtime", cuda_version_text(inventory.cuda_runtime)},
          {"nccl", nccl_version_text(inventory.nccl_loaded)},
          {"gpus", gpus}};
}

}  // namespace

std::string soup_version() {
  return SOUP_VERSION;
}
std::string soup_commit() {
  return SOUP_COMMIT;
}

nlohmann::ordered_json environment(int ranks, const GpuInventory& gpus, ComputeDevice device,
                                   const std::map<std::string, std::string>& more_libraries) {
  std::map<std::string, std::string> libraries = more_libraries;
  libraries["hdf5"] = hdf5_version();
  libraries["openssl"] = OpenSSL_version(OPENSSL_VERSION_STRING);
  libraries["libvips"] = fmt::format("{}.{}.{}", vips_version(0), vips_version(1), vips_version(2));
  libraries["nlohmann-json"] =
      fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH);
  return {{"schema", 1},
          {"soup", soup_version()},
          {"commit", soup_commit().empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(soup_commit())},
          {"compiler", SOUP_COMPILER},
          {"libraries", libraries},
          {"processor", processor()},
          {"cores", std::thread::hardware_concurrency()},
          {"cuda", cuda(gpus)},
          {"device", device.is_gpu() ? "cuda" : "cpu"},
          {"ranks", ranks}};
}

void write_environment(const std::filesystem::path& file, int ranks, const GpuInventory& gpus, ComputeDevice device,
                       const std::map<std::string, std::string>& more_libraries) {
  write_file_atomically(file, environment(ranks, gpus, device, more_libraries).dump(2) + "\n");
}

}  // namespace soup
