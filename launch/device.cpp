// Which device a process computes on.
#include "launch/device.hpp"

#include <fmt/format.h>

#include <cstddef>

#include "core/error.hpp"

namespace soup {

ComputeDevice choose_device(std::string_view name, const GpuInventory& gpus, int local_rank) {
  if (name == "cpu" || (name == "auto" && gpus.gpus.empty())) {
    return {};
  }
  if (gpus.gpus.empty()) {
    throw ConfigError(
        "device cuda was asked for, but " + why_no_gpu(gpus),
        gpus.cuda_built
            ? "is the driver missing, or the GPU hidden (CUDA_VISIBLE_DEVICES)? device auto takes the CPU then"
            : "bash launch/build.sh cuda builds with it; or choose device auto or cpu");
  }
  return {gpus.gpus[static_cast<std::size_t>(local_rank) % gpus.gpus.size()].index};
}

std::string describe(ComputeDevice device, const GpuInventory& gpus) {
  return device.is_gpu()
             ? fmt::format("GPU {} ({})", device.gpu, gpus.gpus.at(static_cast<std::size_t>(device.gpu)).name)
             : "the CPU";
}

}  // namespace soup
