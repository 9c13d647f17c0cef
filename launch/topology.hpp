// Ranks to groups, as a pure function of numbers, testable without MPI.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace soup {

// The world cut into consecutive groups, larger groups first; a group trains one shard at a time.
struct Topology {
  int world_size = 1;
  std::vector<int> group_sizes = {1};  // ranks of each group, in order of rank; together the world
  int rank = 0;
  int group = 0;          // of this rank
  int rank_in_group = 0;  // 0 to group_sizes[group] - 1

  // `wanted`: how many ranks each shard's group is to have. All equal: the world is cut into groups of that many, and
  // has to be a multiple of it. Else groups are made in order of falling size, one per shard, and again from the
  // largest while ranks are left; where the next does not fit, the largest that does is made. A world of one rank is
  // one group whatever is wanted: results do not depend on it. Throws ConfigError with the numbers when ranks would be
  // left over.
  static Topology make(int world_size, int rank, std::span<const int> wanted);

  [[nodiscard]] int groups() const { return static_cast<int>(group_sizes.size()); }
  [[nodiscard]] int first_rank(int of_group) const;
  // "3 ranks in 2 groups: 0-1, 2"
  [[nodiscard]] std::string describe() const;
};

// "4-7", or "4" of a group of one rank.
std::string ranks_text(const Topology& topology, int group);

}  // namespace soup
