// Who trains what: ranks to groups to shards, as a pure function of numbers, testable without MPI.
#include "launch/topology.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"

namespace soup {

Topology Topology::make(int world_size, int rank, int ranks_per_group) {
  SOUP_REQUIRE(world_size >= 1 && rank >= 0 && rank < world_size,
               fmt::format("rank {} in a world of {} ranks", rank, world_size));
  if (ranks_per_group < 1) {
    throw ConfigError(fmt::format("launch.ranks_per_group is {}, but a group has at least 1 rank", ranks_per_group));
  }
  Topology topology;
  topology.world_size = world_size;
  topology.ranks_per_group = world_size == 1 ? 1 : ranks_per_group;
  if (world_size % topology.ranks_per_group != 0) {
    throw ConfigError(
        fmt::format("{} ranks cannot be cut into groups of {} (launch.ranks_per_group): {} would be left over",
                    world_size, ranks_per_group, world_size % ranks_per_group),
        fmt::format("start a multiple of {} ranks, for instance {}, or one rank alone", ranks_per_group,
                    (world_size / ranks_per_group + 1) * ranks_per_group));
  }
  topology.groups = world_size / topology.ranks_per_group;
  topology.rank = rank;
  topology.group = rank / topology.ranks_per_group;
  topology.rank_in_group = rank % topology.ranks_per_group;
  return topology;
}

std::vector<std::size_t> Topology::shards_of(int of_group, std::size_t shards) const {
  SOUP_REQUIRE(of_group >= 0 && of_group < groups, fmt::format("group {} of {} groups", of_group, groups));
  std::vector<std::size_t> mine;
  for (auto shard = static_cast<std::size_t>(of_group); shard < shards; shard += static_cast<std::size_t>(groups)) {
    mine.push_back(shard);
  }
  return mine;
}

std::size_t Topology::waves(std::size_t shards) const {
  const auto per_wave = static_cast<std::size_t>(groups);
  return (shards + per_wave - 1) / per_wave;
}

std::string Topology::describe(const std::vector<std::string>& shard_names) const {
  const std::size_t shards = shard_names.size();
  std::string text =
      fmt::format("{} {} in {} {} of {}; {} {} in {} {}\n", world_size, world_size == 1 ? "rank" : "ranks", groups,
                  groups == 1 ? "group" : "groups", ranks_per_group, shards, shards == 1 ? "shard" : "shards",
                  waves(shards), waves(shards) == 1 ? "wave" : "waves");
  std::size_t width = 5;
  for (const std::string& name : shard_names) {
    width = std::max(width, name.size());
  }
  text += fmt::format("{:>5}  {:>5}  {:<11}  {}\n", "wave", "group", "ranks", "shard");
  // With no shards at all there is no wave to list.
  for (std::size_t wave = 0; wave < waves(shards); ++wave) {
    for (int g = 0; g < groups; ++g) {
      const std::size_t shard = wave * static_cast<std::size_t>(groups) + static_cast<std::size_t>(g);
      const int first = g * ranks_per_group;
      const std::string ranks =
          ranks_per_group == 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, first + ranks_per_group - 1);
      text += fmt::format("{:>5}  {:>5}  {:<11}  {}\n", wave, g, ranks, shard < shards ? shard_names[shard] : "(idle)");
    }
  }
  return text;
}

}  // namespace soup
