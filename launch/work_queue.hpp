// A queue from which the groups of one job take work, each piece once, without talking to each other: a claim is a file
// that only one of them can make.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>

#include "launch/communicator.hpp"

namespace soup {

class WorkQueue {
 public:
  // Collective over `world`: its first rank removes what earlier jobs left in `folder` and makes a folder for this
  // job's claims there. Throws DataError on all ranks where it cannot.
  WorkQueue(std::filesystem::path folder, Communicator& world);

  // The first of `order` that nobody has taken, for this caller to do; nullopt when all are taken. Collective over
  // `group`: all its ranks get the same. Throws DataError on all of them.
  std::optional<std::size_t> take(std::span<const std::size_t> order, Communicator& group);

  // Collective over `world`: removes the claims, when no group takes any more.
  void close(Communicator& world);

 private:
  std::filesystem::path folder_;
  std::filesystem::path claims_;
};

}  // namespace soup
