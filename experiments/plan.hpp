// What a run would do, without doing any of it: who trains what, what is done, and what the rest costs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "experiments/experiment.hpp"
#include "experiments/stage.hpp"
#include "launch/device.hpp"
#include "launch/schedule.hpp"
#include "launch/topology.hpp"

namespace soup {

// How a stage's seconds are known.
enum class Basis {
  measured,  // it is done: its DONE record
  this_run,  // from the rate of a finished training of this run
  assumed,   // from the default rates below
  unknown,   // the base cannot be read, so neither can its size
};

struct StagePlan {
  Stage stage;
  bool done = false;
  std::uint64_t images = 0;  // trained on; of an import that is done: images in the shard
  double seconds = 0.0;      // wall time of this stage
  int ranks = 1;             // on so many ranks
  Basis basis = Basis::assumed;
  std::uint64_t bytes = 0;  // on disk, at its largest (checkpoints included)
};

struct Plan {
  Digest digest;
  std::optional<Topology> topology;  // absent when the ranks do not form groups: then that is a problem
  int ranks = 1;
  int cores = 1;  // of this host
  GpuInventory gpus;
  ComputeDevice device;  // of the first rank
  std::vector<StagePlan> stages;
  std::vector<Work> work;              // the ingredients to train
  Schedule schedule;                   // and who trains which when
  double seconds_to_do = 0.0;          // wall time of all that is not done; groups work side by side
  std::uint64_t bytes_to_do = 0;       // on disk
  std::uint64_t memory_bytes = 0;      // resident, of one rank, at its peak
  std::uint64_t gpu_memory_bytes = 0;  // of its GPU, where it has one
  std::vector<Error> problems;
};

// Rates assumed where nothing has been measured: the product of weights, latent pixels and images a second, in
// training, of one core, and of one GPU (120 images a second of Stable Diffusion 2 at 512 pixels in half precision, as
// MLPerf Training 4.1 has of an H100; small models and float32 take longer); and icons decoded a second.
inline constexpr double assumed_training_rate = 5e10;
inline constexpr double assumed_gpu_training_rate = 4e14;
inline constexpr double assumed_import_rate = 300.0;
// And multiplications a second of one core, or one GPU, where images and texts are encoded (in float32).
inline constexpr double assumed_encoding_rate = 2e10;
inline constexpr double assumed_gpu_encoding_rate = 1e13;

Plan make_plan(const Experiment& experiment, int ranks, const GpuInventory& gpus);
// For people, as `soup plan` prints it.
std::string describe(const Plan& plan, const Experiment& experiment);

}  // namespace soup
