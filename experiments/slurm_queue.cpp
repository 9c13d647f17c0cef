// What Slurm's queue says of jobs.
#include "experiments/slurm_queue.hpp"

#include <fmt/format.h>

#include "core/child_process.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace soup {

std::vector<QueuedJob> queued_jobs(const std::vector<std::string>& ids) {
  constexpr double patience_seconds = 60.0;
  constexpr std::size_t fields = 4;
  std::vector<QueuedJob> jobs;
  for (const std::string& id : ids) {
    const ChildOutcome outcome =
        run_child({.arguments = {"squeue", "--noheader", "--format=%i|%T|%r|%N", "--jobs=" + id},
                   .environment = current_environment(),
                   .hint = "is this a host of the cluster, with Slurm's commands on its PATH?",
                   .timeout_seconds = patience_seconds});
    if (outcome.timed_out || (outcome.code != 0 && outcome.errors.find("Invalid job id") == std::string::npos)) {
      throw DataError("squeue", outcome.timed_out ? fmt::format("did not answer within {:g} s", patience_seconds)
                                                  : fmt::format("ended with {}: {}", outcome.code, outcome.errors));
    }
    for (const std::string& line : split(outcome.output, '\n')) {
      const std::vector<std::string> parts = split(line, '|');
      if (parts.size() == fields) {
        jobs.push_back({parts[0], parts[1], parts[2], parts[3]});
      }
    }
  }
  return jobs;
}

}  // namespace soup
