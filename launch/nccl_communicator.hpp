// Communicator over NCCL, for memory of the GPU and for large spans of host memory.
#pragma once

#include <cstddef>
#include <memory>

#include "launch/communicator.hpp"
#include "launch/watchdog.hpp"

namespace soup {

struct NcclOptions {
  int gpu = 0;  // Gpu::index of this rank
  // Ends the job when a sum that is queued on the GPU does not come to its end.
  std::shared_ptr<Watchdog> watchdog;
  // Shorter spans of host memory go over the communicator of the hosts, which has the lower latency.
  std::size_t least_bytes = std::size_t{64} << 10;
  // Longer ones pass through the GPU in pieces of so many bytes; there are two on the way at a time, each in
  // page-locked and in GPU memory.
  std::size_t piece_bytes = std::size_t{16} << 20;
};

// The ranks of `host` with a GPU each, which none shares with another rank (why_not_nccl). `host` is where they meet
// before each collective, asleep, so that no kernel waits on a GPU for a rank that is late, and where different calls
// are refused. What is queued on GPU memory goes behind the work of the legacy default stream, which is LibTorch's, and
// ahead of what is queued there afterwards. Any GPU memory given has to be of this GPU. Errors of NCCL and CUDA throw
// CommError naming the call; of a sum that nobody waits for they end the job with exit code 4. Collective. In library
// soup_gpu; without CUDA built in, an InvariantError.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host, const NcclOptions& options);

// Algorithms with one order of additions, so that the same ranks on the same hosts get the same bits run for run. For
// the environment of this process, before the first communicator; what is set there already stays.
void make_nccl_repeatable();

}  // namespace soup
