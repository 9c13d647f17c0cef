// Communicators over NCCL for tests, on as many GPUs as there are.
#pragma once

#include <cstddef>
#include <memory>

#include "launch/communicator.hpp"

namespace soup::test {

// All ranks of the job; null where there is no GPU. With more ranks than GPUs each rank gets an NCCL_HOSTID of its own,
// so that NCCL, which takes no two ranks of one host on one GPU, sees them on different hosts and talks over sockets: a
// test of what is computed, not of how quickly.
std::unique_ptr<Communicator> nccl_world(std::size_t least_bytes = 0, std::size_t piece_bytes = std::size_t{16} << 20);
// Of this rank, where there is one.
int nccl_gpu();

}  // namespace soup::test
