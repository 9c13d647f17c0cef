// What every stage of a run needs: the experiment, its folder, the communicators and the log.
#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/digest.hpp"
#include "core/log.hpp"
#include "experiments/experiment.hpp"
#include "experiments/stage.hpp"
#include "launch/communicator.hpp"
#include "launch/topology.hpp"
#include "launch/watchdog.hpp"

namespace soup {

struct RunContext {
  const Experiment& experiment;
  std::vector<Stage> stages;
  Topology topology;
  int local_ranks = 1;                    // processes of this run on this host
  c10::Device device;                     // where this rank's networks compute
  bool nccl = false;                      // whether weights and gradients go over NCCL, else over MPI
  std::shared_ptr<Watchdog> watchdog;     // ends collectives that hang
  std::unique_ptr<Communicator> patient;  // all ranks, no deadline: where ranks wait for the others' work
  std::unique_ptr<Communicator> world;    // all ranks
  std::unique_ptr<Communicator> group;    // the ranks that train one shard together
  std::unique_ptr<Communicator> across;   // ranks of all groups with this rank's number in its group
  std::unique_ptr<Communicator> alone;    // this rank
  Log& log;

  [[nodiscard]] std::filesystem::path folder_of(const Stage& stage) const {
    return experiment.run_folder / stage.folder;
  }
  // A communicator for weights and gradients on the ranks of this one, under the watchdog. Collective over `ranks`.
  [[nodiscard]] std::unique_ptr<Communicator> for_weights(std::unique_ptr<Communicator> ranks,
                                                          const std::string& name) const;
  // Cores of this host for each rank, at least 1; launch.threads_per_rank when set.
  [[nodiscard]] int threads() const;
  // Stages of one kind, in order.
  [[nodiscard]] std::vector<const Stage*> of_kind(StageKind kind) const;
  // Throws InvariantError when there is none of that name.
  [[nodiscard]] const Stage& stage(const std::string& name) const;
};

// What a stage made: the digest that enters the keys of later stages, and those of its parts (StageRecord::parts).
struct StageResult {
  Digest digest;
  std::map<std::string, Digest> parts = {};
};

// Splits `world` into groups and builds the rest. Collective.
RunContext make_context(const Experiment& experiment, const Topology& topology, std::unique_ptr<Communicator> world,
                        int local_ranks, c10::Device device, bool nccl, Log& log);

// Runs one stage by the ranks of `comm` unless its DONE file has the key it has now: `body` gets the key and returns
// the digest of what it made (only the first rank's counts), then the first rank writes DONE. Meanwhile the first rank
// holds the stage's lock (DataError where another process works on it) and, if the stage fails, leaves a FAILED file.
// Throws DataError where an input is not done. Collective over `comm`; every rank returns or every rank throws.
void run_stage(const RunContext& context, const Stage& stage, Communicator& comm,
               const std::function<StageResult(const Digest& key)>& body);

}  // namespace soup
