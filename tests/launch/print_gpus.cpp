// Prints what this process sees, as soup-torch would; its exit code is that of the problem with NCCL, if any.
#include <cstdio>

#include "launch/gpu_inventory.hpp"

int main() {
  try {
    const soup::GpuInventory inventory = soup::probe_gpus();
    std::fputs(soup::describe(inventory).c_str(), stdout);
    if (const std::optional<soup::Error> problem = soup::nccl_problem(inventory)) {
      throw *problem;
    }
    return 0;
  } catch (const soup::Error& error) {
    std::puts(error.what());
    return static_cast<int>(error.exit_code());
  }
}
