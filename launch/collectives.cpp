// Over what a run's ranks exchange weights and gradients.
#include "launch/collectives.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <map>

#include "core/error.hpp"
#include "core/process_identity.hpp"

namespace soup {

namespace {

// Where NCCL sees this rank's GPU: host and bus. Empty on the CPU.
std::string place_of_gpu(const GpuInventory& gpus, ComputeDevice device) {
  if (!device.is_gpu()) {
    return "";
  }
  const char* host = std::getenv("NCCL_HOSTID");
  return fmt::format("{} GPU {}", host == nullptr ? host_name() : host,
                     gpus.gpus.at(static_cast<std::size_t>(device.gpu)).pci_bus_id);
}

// Why these ranks cannot talk over NCCL; empty if they can.
std::string why_not_nccl(const std::vector<std::string>& places) {
  std::map<std::string, std::size_t> rank_at;
  for (std::size_t rank = 0; rank < places.size(); ++rank) {
    if (places[rank].empty()) {
      return fmt::format("rank {} computes on the CPU", rank);
    }
    const auto [other, is_new] = rank_at.emplace(places[rank], rank);
    if (!is_new) {
      return fmt::format("ranks {} and {} share {}", other->second, rank, places[rank]);
    }
  }
  return "";
}

}  // namespace

CollectivesChoice choose_collectives(std::string_view name, Communicator& world, const GpuInventory& gpus,
                                     ComputeDevice device) {
  const std::string obstacle = why_not_nccl(all_gather_text(world, place_of_gpu(gpus, device)));
  if (name == "nccl" && !obstacle.empty()) {
    throw ConfigError("launch.collectives is nccl, but " + obstacle,
                      "NCCL needs a GPU for each rank: start fewer ranks, or choose collectives auto or mpi");
  }
  if (name == "mpi") {
    return {false, "as the experiment says"};
  }
  if (!obstacle.empty()) {
    return {false, obstacle};
  }
  if (name == "auto" && world.size() == 1) {
    return {false, "one rank"};
  }
  return {true, "NCCL " + nccl_version_text(gpus.nccl_loaded)};
}

}  // namespace soup
