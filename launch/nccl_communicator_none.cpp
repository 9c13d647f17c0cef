// The NCCL communicator of builds without CUDA.
#include "core/error.hpp"
#include "launch/nccl_communicator.hpp"

namespace soup {

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator>, const NcclOptions&) {
  throw InvariantError("a communicator over NCCL was asked for, but this soup was built without CUDA");
}

void make_nccl_repeatable() {}

}  // namespace soup
