// What Slurm's queue says of jobs.
#pragma once

#include <string>
#include <vector>

namespace soup {

struct QueuedJob {
  std::string id;      // "17", or "17_3" of an array's element; "17_[4-9]" of elements that wait together
  std::string state;   // "PENDING", "RUNNING", ...
  std::string reason;  // of waiting
  std::string node;    // list of nodes it runs on
};

// Of these jobs those that wait or run. An id that Slurm no longer knows is one that does neither. Throws DataError
// where squeue cannot be started or does not answer.
std::vector<QueuedJob> queued_jobs(const std::vector<std::string>& ids);

}  // namespace soup
