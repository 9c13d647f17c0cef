// The GPUs and the NCCL that this process sees, as a value: what it says to people, and when it is no basis for a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

namespace soup {

struct Gpu {
  int index = 0;  // among those this process may use (CUDA_VISIBLE_DEVICES)
  std::string name;
  int compute_major = 0;
  int compute_minor = 0;
  std::uint64_t memory_bytes = 0;
  std::string pci_bus_id;  // "0000:1b:00.0"
  std::string uuid;        // "GPU-3a6f...", as nvidia-smi spells it
};

// Versions are numbers as the libraries give them: CUDA 13.0 is 13000, NCCL 2.28.9 is 22809; 0 is "none".
struct GpuInventory {
  bool cuda_built = false;  // else all that follows is empty
  int cuda_driver = 0;      // the newest CUDA that the installed driver offers; 0: no driver
  int cuda_runtime = 0;
  std::string why_none = {};  // CUDA's words when `gpus` is empty
  std::vector<Gpu> gpus = {};
  int nccl_compiled = 0;                                // of the nccl.h that soup was built with
  int nccl_loaded = 0;                                  // of the library that answers this process's calls
  std::filesystem::path nccl_path = {};                 // that library
  std::vector<std::filesystem::path> nccl_copies = {};  // every libnccl.so* mapped into this process
};

// Asks CUDA and NCCL; without CUDA built in, only says so. A host without driver or GPU is a result, not an error.
// Makes no CUDA context. Throws CommError when NCCL does not answer. In library soup_gpu.
GpuInventory probe_gpus();

// "13.0" of 13000; "2.28.9" of 22809, and "2.8.4" of 2804, as NCCL counted up to 2.8.
std::string cuda_version_text(int version);
std::string nccl_version_text(int version);

// The files called libnccl.so* in the text of a /proc/<pid>/maps, each once, in order.
std::vector<std::filesystem::path> nccl_copies_in(std::string_view maps);

// Where `gpus` is empty, why: "no NVIDIA driver is installed".
std::string why_no_gpu(const GpuInventory& inventory);
// For people: a line on the GPUs, one more for each, and one on NCCL.
std::string describe(const GpuInventory& inventory);

// A CommError when NCCL is not the one that soup was built with, or not the only one in this process: two copies do
// not know each other's communicators, and LibTorch would use the other. Without CUDA built in there is none.
std::optional<Error> nccl_problem(const GpuInventory& inventory);

}  // namespace soup
