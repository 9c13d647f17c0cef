#include "launch/gpu_inventory.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"

namespace soup {

std::string why_no_gpu(const GpuInventory& inventory) {
  if (!inventory.cuda_built) {
    return "this program was built without CUDA";
  }
  if (inventory.cuda_driver == 0) {
    return "no NVIDIA driver is installed";
  }
  // Within a major version a newer runtime works on an older driver.
  if (inventory.cuda_driver / 1000 < inventory.cuda_runtime / 1000) {
    return fmt::format("the driver offers CUDA {}, this build needs {}: install a newer driver",
                       cuda_version_text(inventory.cuda_driver), cuda_version_text(inventory.cuda_runtime));
  }
  return inventory.why_none;
}

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string nccl_version_text(int version) {
  const int major_unit = version < 10000 ? 1000 : 10000;
  return fmt::format("{}.{}.{}", version / major_unit, version % major_unit / 100, version % 100);
}

std::vector<std::filesystem::path> nccl_copies_in(std::string_view maps) {
  std::vector<std::filesystem::path> copies;
  for (const std::string& line : split(maps, '\n')) {
    // address, permissions, offset, device, inode, and the path, which may hold spaces: the only field with a slash.
    const std::size_t slash = line.find('/');
    if (slash == std::string::npos) {
      continue;
    }
    const std::filesystem::path file = line.substr(slash);
    // Not NCCL itself: its network plugins, libnccl-net.so and libnccl-net-*.so.
    const bool is_nccl = file.filename().native().starts_with("libnccl.so");
    if (is_nccl && std::ranges::find(copies, file) == copies.end()) {
      copies.push_back(file);
    }
  }
  return copies;
}

std::string describe(const GpuInventory& inventory) {
  if (!inventory.cuda_built) {
    return "GPUs: built without CUDA\n";
  }
  const std::string runtime = cuda_version_text(inventory.cuda_runtime);
  std::string text;
  if (inventory.gpus.empty()) {
    text = fmt::format("GPUs: none, {} (CUDA runtime {})\n", why_no_gpu(inventory), runtime);
  } else {
    text = fmt::format("GPUs: {} (CUDA driver {}, runtime {})\n", inventory.gpus.size(),
                       cuda_version_text(inventory.cuda_driver), runtime);
  }
  for (const Gpu& gpu : inventory.gpus) {
    text +=
        fmt::format("  {}  {}, compute capability {}.{}, {}, {}, {}\n", gpu.index, gpu.name, gpu.compute_major,
                    gpu.compute_minor, human_bytes(static_cast<double>(gpu.memory_bytes)), gpu.pci_bus_id, gpu.uuid);
  }
  return text + fmt::format("NCCL: {}, {}\n", nccl_version_text(inventory.nccl_loaded), inventory.nccl_path.native());
}

std::optional<Error> nccl_problem(const GpuInventory& inventory) {
  if (!inventory.cuda_built) {
    return std::nullopt;
  }
  if (inventory.nccl_copies.size() > 1) {
    std::string list;
    for (const std::filesystem::path& copy : inventory.nccl_copies) {
      list += (list.empty() ? "" : " and ") + copy.native();
    }
    return CommError("NCCL", fmt::format("{} copies are in this process: {}", inventory.nccl_copies.size(), list),
                     "keep LibTorch's (nvidia/nccl/lib beside torch/): does LD_PRELOAD or a plugin bring the other?");
  }
  if (inventory.nccl_compiled != inventory.nccl_loaded) {
    return CommError("NCCL",
                     fmt::format("soup was compiled against {}, but {} is loaded from {}",
                                 nccl_version_text(inventory.nccl_compiled), nccl_version_text(inventory.nccl_loaded),
                                 inventory.nccl_path.native()),
                     "does LD_PRELOAD bring another one? If LibTorch was changed, build again: bash launch/build.sh "
                     "cuda");
  }
  return std::nullopt;
}

}  // namespace soup
