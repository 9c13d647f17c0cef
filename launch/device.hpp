// Which device a process computes on: the CPU, or one of the GPUs it sees. No torch.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "launch/gpu_inventory.hpp"

namespace soup {

// auto: on a GPU where there is one.
inline constexpr std::array<std::string_view, 3> device_names = {"auto", "cpu", "cuda"};

struct ComputeDevice {
  int gpu = -1;  // Gpu::index; negative: the CPU

  [[nodiscard]] bool is_gpu() const { return gpu >= 0; }
};

// What `name` (of device_names) means for the process with this number on its host: with several GPUs each process
// takes its own, and with more processes than GPUs they share them in turn. Throws ConfigError when "cuda" is asked for
// and there is none, with the inventory's reason.
ComputeDevice choose_device(std::string_view name, const GpuInventory& gpus, int local_rank = 0);

// "the CPU", or "GPU 0 (NVIDIA H200)".
std::string describe(ComputeDevice device, const GpuInventory& gpus);

}  // namespace soup
