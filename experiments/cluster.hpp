// How a cluster's scheduler is to run an experiment: decides nothing of its results.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace soup {

inline constexpr std::array<std::string_view, 3> scheduler_names = {"slurm", "pbs", "kubernetes"};
// auto: srun with PMIx where `srun --mpi=list` has it, else mpirun.
inline constexpr std::array<std::string_view, 3> launcher_names = {"auto", "srun", "mpirun"};

struct ClusterConfig {
  std::string scheduler = "slurm";  // of scheduler_names
  std::string partition;            // PBS: queue
  std::string account;
  std::string qos;
  std::string time = "24:00:00";  // limit of one job; it is requeued as often as that takes
  std::string memory;             // of a node: "64G"; empty: the partition's
  std::int64_t cores_per_rank = 1;
  std::int64_t gpus_per_rank = 0;
  std::int64_t ranks_per_node = 0;  // 0: the scheduler decides
  std::int64_t base_ranks = 1;      // of the jobs that are no shard's
  std::int64_t paragon_ranks = 1;
  std::int64_t soup_ranks = 1;
  std::int64_t most_running = 0;      // shards trained at a time; 0: as many as the scheduler starts
  std::int64_t signal_seconds = 120;  // how long before the limit a checkpoint is asked for
  std::string launcher = "auto";      // of launcher_names
  std::vector<std::string> modules;   // to load
  std::vector<std::string> prolog;    // lines of shell before the program
  std::vector<std::string> options;   // further lines for the scheduler: "--exclusive"
  std::string program;                // soup on the nodes; empty: the one that submits
  std::string image;                  // Kubernetes: container image
  std::string volume;                 // Kubernetes: claim of the volume that holds the folder soup is run from
};

// Whether a time limit is one: "90", "24:00:00", "2-12:00:00".
bool is_time_limit(std::string_view text);
// Whether an amount of memory is one: "", "512M", "64G".
bool is_memory_size(std::string_view text);

}  // namespace soup
