// probe_gpus() of builds without CUDA.
#include "launch/gpu_inventory.hpp"

namespace soup {

GpuInventory probe_gpus() {
  return {};
}

}  // namespace soup
