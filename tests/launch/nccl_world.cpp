// Communicators over NCCL for tests.
#include "tests/launch/nccl_world.hpp"

#include <mpi.h>

#include <cstdlib>
#include <string>

#include "launch/gpu_inventory.hpp"
#include "launch/mpi_communicator.hpp"
#include "launch/nccl_communicator.hpp"
#include "tests/launch/mpi_main.hpp"

namespace soup::test {

namespace {

std::size_t gpus() {
  static const std::size_t count = probe_gpus().gpus.size();
  return count;
}

void set(const char* name, const std::string& value) {
  constexpr int keep = 0;
  setenv(name, value.c_str(), keep);
}

}  // namespace

int nccl_gpu() {
  return world().rank() % static_cast<int>(gpus());
}

std::unique_ptr<Communicator> nccl_world(std::size_t least_bytes, std::size_t piece_bytes) {
  if (gpus() == 0) {
    return nullptr;
  }
  if (static_cast<std::size_t>(world().size()) > gpus()) {
    set("NCCL_HOSTID", "rank-" + std::to_string(world().rank()));
    set("NCCL_SOCKET_IFNAME", "lo");
    set("NCCL_IB_DISABLE", "1");
    set("NCCL_MAX_CTAS", "2");  // ranks that share a GPU must leave each other room
    make_nccl_repeatable();
  }
  return make_nccl_communicator(
      std::make_unique<MpiCommunicator>(MPI_COMM_WORLD),
      {.gpu = nccl_gpu(), .watchdog = watchdog(), .least_bytes = least_bytes, .piece_bytes = piece_bytes});
}

}  // namespace soup::test
