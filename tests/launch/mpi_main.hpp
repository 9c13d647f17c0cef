// What tests under mpirun share: one communicator over all ranks, made by their main.
#pragma once

#include "launch/communicator.hpp"

namespace soup::test {

// All ranks; alive while tests run.
Communicator& world();

}  // namespace soup::test
