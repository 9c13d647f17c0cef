// What tests under mpirun share: one communicator over all ranks, made by their main.
#pragma once

#include <memory>

#include "launch/communicator.hpp"
#include "launch/watchdog.hpp"

namespace soup::test {

// All ranks; alive while tests run.
Communicator& world();
// Which ends the job when its ranks no longer meet; for communicators that tests make.
std::shared_ptr<Watchdog> watchdog();

}  // namespace soup::test
