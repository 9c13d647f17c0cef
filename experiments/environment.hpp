// What a run ran with: program, libraries, processor, GPUs, ranks; written once per run as environment.json.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "launch/device.hpp"

namespace soup {

// "0.1.0", and the commit it was built from when there was a repository ("" otherwise).
std::string soup_version();
std::string soup_commit();

// No host names, no paths and no UUIDs of GPUs, so that a report can be shown to anyone. `more_libraries` are versions
// that only the caller knows (LibTorch, MPI); `device` is the first rank's.
nlohmann::ordered_json environment(int ranks, const GpuInventory& gpus, ComputeDevice device,
                                   const std::map<std::string, std::string>& more_libraries);
void write_environment(const std::filesystem::path& file, int ranks, const GpuInventory& gpus, ComputeDevice device,
                       const std::map<std::string, std::string>& more_libraries);

}  // namespace soup
