// How far a run is, from what its folder holds: done, failed, at work, waiting. Reads only.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/slurm_queue.hpp"
#include "experiments/submission.hpp"

namespace soup {

enum class StageState { done, running, failed, stopped, queued, waiting };

struct StageStatus {
  std::string stage;
  StageState state = StageState::waiting;
  std::string since;    // ISO 8601, UTC: of running, failed, stopped
  std::string process;  // "process 4711 on node3, job 17_2": of running, failed
  // Of what runs or stopped, by its last word.
  std::optional<std::uint64_t> done;
  std::uint64_t total = 0;
  std::string unit;
  double rate = 0.0;          // units a second
  double seconds_left = 0.0;  // 0: not known
  double seconds = 0.0;       // of done
  std::string reason;         // of failed: the error; of queued: Slurm's; of waiting: for which stages
  std::string job;            // of queued
};

struct RunStatus {
  std::string experiment;
  std::vector<StageStatus> stages;
  std::string queue_unknown;  // why the scheduler could not be asked, where there was something to ask
};

// The run's stages, of the experiment as the run folder has it.
RunStatus status_of(const Experiment& experiment);

// For people, and for programs.
std::string describe(const RunStatus& status);
nlohmann::ordered_json to_json(const RunStatus& status);

}  // namespace soup
