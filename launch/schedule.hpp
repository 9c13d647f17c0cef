// Which group trains which shard when there are more shards than groups: a free group takes the next one, longest
// first. The rule that groups follow, and the schedule that it will lead to where all goes as predicted.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/topology.hpp"

namespace soup {

struct Work {
  std::string name;
  double rank_seconds = 0.0;  // of one rank; r ranks take an r-th of it
  int ranks = 1;              // that its group is to have

  [[nodiscard]] double seconds_on(int group_size) const { return rank_seconds / group_size; }
};

// Positions in `work` in the order in which they are taken: longest on its own ranks first, equals as they come.
std::vector<std::size_t> order_of_work(std::span<const Work> work);

// In the order in which a free group of `group_size` ranks asks for them: those that want a group of its size, then the
// others, each in order_of_work.
std::vector<std::size_t> order_for_group(std::span<const Work> work, int group_size);

struct Turn {
  std::size_t work = 0;
  int group = 0;
  double start = 0.0;  // seconds since the first starts
  double end = 0.0;
};

struct Schedule {
  std::vector<Turn> turns;  // in order of start
  double makespan = 0.0;    // until the last group is through
  double idle_share = 0.0;  // of the ranks' time until then
};

Schedule make_schedule(std::span<const int> group_sizes, std::span<const Work> work);

// A table for people: a line per turn, and the idle share.
std::string describe(const Schedule& schedule, const Topology& topology, std::span<const Work> work);

}  // namespace soup
