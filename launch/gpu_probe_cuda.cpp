// probe_gpus() of builds with CUDA, on the CUDA runtime and NCCL alone.
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <nccl.h>

#include <array>
#include <cstdlib>
#include <stdexcept>

#include "core/atomic_file.hpp"
#include "launch/gpu_inventory.hpp"

namespace soup {

namespace {

struct CudaFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void ask_cuda(cudaError_t code, std::string_view call) {
  if (code != cudaSuccess) {
    throw CudaFailure(fmt::format("{}: {}", call, cudaGetErrorString(code)));
  }
}

void check_nccl(ncclResult_t code, std::string_view call) {
  if (code != ncclSuccess) {
    throw CommError(call, ncclGetErrorString(code));
  }
}

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (std::size_t i = 0; i < sizeof(uuid.bytes); ++i) {
    const bool starts_part = i == 4 || i == 6 || i == 8 || i == 10;
    text += fmt::format("{}{:02x}", starts_part ? "-" : "", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

Gpu gpu_at(int index) {
  cudaDeviceProp properties{};
  ask_cuda(cudaGetDeviceProperties(&properties, index), fmt::format("cudaGetDeviceProperties of GPU {}", index));
  std::array<char, 32> pci_bus_id{};
  ask_cuda(cudaDeviceGetPCIBusId(pci_bus_id.data(), static_cast<int>(pci_bus_id.size()), index),
           fmt::format("cudaDeviceGetPCIBusId of GPU {}", index));
  return {.index = index,
          .name = properties.name,
          .compute_major = properties.major,
          .compute_minor = properties.minor,
          .memory_bytes = properties.totalGlobalMem,
          .pci_bus_id = pci_bus_id.data(),
          .uuid = uuid_text(properties.uuid)};
}

std::vector<Gpu> all_gpus() {
  int count = 0;
  ask_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  std::vector<Gpu> gpus;
  gpus.reserve(static_cast<std::size_t>(count));
  for (int index = 0; index < count; ++index) {
    gpus.push_back(gpu_at(index));
  }
  return gpus;
}

// The file that holds the code behind the calls to NCCL here.
std::filesystem::path loaded_nccl() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&ncclGetVersion), &info) == 0 || info.dli_fname == nullptr) {
    throw CommError("dladdr", "no loaded library holds ncclGetVersion");
  }
  return info.dli_fname;
}

}  // namespace

GpuInventory probe_gpus() {
  GpuInventory inventory{.cuda_built = true, .nccl_compiled = NCCL_VERSION_CODE};
  try {
    ask_cuda(cudaRuntimeGetVersion(&inventory.cuda_runtime), "cudaRuntimeGetVersion");
    ask_cuda(cudaDriverGetVersion(&inventory.cuda_driver), "cudaDriverGetVersion");
    inventory.gpus = all_gpus();
  } catch (const CudaFailure& failure) {
    inventory.why_none = failure.what();
    if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES")) {
      inventory.why_none += fmt::format(" (CUDA_VISIBLE_DEVICES is \"{}\")", visible);
    }
    // The runtime remembers the error; LibTorch would later take it for one of its own calls'.
    static_cast<void>(cudaGetLastError());
  }
  check_nccl(ncclGetVersion(&inventory.nccl_loaded), "ncclGetVersion");
  inventory.nccl_path = loaded_nccl();
  inventory.nccl_copies = nccl_copies_in(read_file("/proc/self/maps"));
  return inventory;
}

}  // namespace soup
