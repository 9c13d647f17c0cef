// Over what a run's ranks exchange weights and gradients.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "launch/communicator.hpp"
#include "launch/device.hpp"
#include "launch/gpu_inventory.hpp"

namespace soup {

// auto: NCCL where all ranks compute on GPUs of their own, else MPI.
inline constexpr std::array<std::string_view, 3> collectives_names = {"auto", "mpi", "nccl"};

struct CollectivesChoice {
  bool nccl = false;
  std::string why;  // for people
};

// What `name` (of collectives_names) means for these ranks, of which each passes its own GPUs and device. NCCL takes no
// two ranks on one GPU; ranks whose environment gives different NCCL_HOSTID are to it on different hosts, whatever
// GPUs they have. Throws ConfigError when "nccl" is asked for and cannot be, with the reason. Collective.
CollectivesChoice choose_collectives(std::string_view name, Communicator& world, const GpuInventory& gpus,
                                     ComputeDevice device);

}  // namespace soup
