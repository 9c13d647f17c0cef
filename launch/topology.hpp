// Who trains what: ranks to groups to shards, as a pure function of numbers, testable without MPI.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace soup {

struct Topology {
  int world_size = 1;
  int ranks_per_group = 1;
  int groups = 1;
  int rank = 0;
  int group = 0;          // rank / ranks_per_group
  int rank_in_group = 0;  // rank % ranks_per_group

  // Throws ConfigError (with the numbers) when world_size is not a multiple of ranks_per_group. A world smaller than
  // one group runs as one group of world_size ranks only when world_size == 1 (then the group is the process itself;
  // the result is the same function of the data).
  static Topology make(int world_size, int rank, int ranks_per_group);

  // Shards are dealt round-robin: wave w, group g trains shard w * groups + g. Shards of this group, in wave order.
  [[nodiscard]] std::vector<std::size_t> shards_of(int group, std::size_t shards) const;
  [[nodiscard]] std::size_t waves(std::size_t shards) const;
  // A table for people: one line per group and wave.
  [[nodiscard]] std::string describe(const std::vector<std::string>& shard_names) const;
};

}  // namespace soup
