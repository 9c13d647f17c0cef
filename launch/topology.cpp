// Ranks to groups, as a pure function of numbers, testable without MPI.
#include "launch/topology.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "core/error.hpp"

namespace soup {

namespace {

std::vector<int> equal_groups(int world_size, int size) {
  if (world_size % size != 0) {
    throw ConfigError(
        fmt::format("{} ranks cannot be cut into groups of {} (launch.ranks_per_group): {} would be left over",
                    world_size, size, world_size % size),
        fmt::format("start a multiple of {} ranks, for instance {}, or one rank alone", size,
                    (world_size / size + 1) * size));
  }
  return std::vector<int>(static_cast<std::size_t>(world_size / size), size);
}

std::vector<int> mixed_groups(int world_size, std::vector<int> wanted) {
  std::ranges::sort(wanted, std::greater());
  std::vector<int> groups;
  int left = world_size;
  for (std::size_t next = 0; left > 0; ++next) {
    const auto from = wanted.begin() + static_cast<std::ptrdiff_t>(next % wanted.size());
    auto fits = std::find_if(from, wanted.end(), [left](int size) { return size <= left; });
    if (fits == wanted.end()) {
      fits = std::ranges::find_if(wanted, [left](int size) { return size <= left; });
    }
    if (fits == wanted.end()) {
      const int used = world_size - left;
      throw ConfigError(fmt::format("{} ranks cannot be cut into groups of {} ranks, as the shards ask for "
                                    "(data.shards[].ranks, launch.ranks_per_group): {} would be left over",
                                    world_size, fmt::join(wanted, ", "), left),
                        fmt::format("start {} ranks, or {} for a group per shard", used > 0 ? used : wanted.back(),
                                    std::reduce(wanted.begin(), wanted.end())));
    }
    groups.push_back(*fits);
    left -= *fits;
  }
  std::ranges::sort(groups, std::greater());
  return groups;
}

}  // namespace

Topology Topology::make(int world_size, int rank, std::span<const int> wanted) {
  SOUP_REQUIRE(world_size >= 1 && rank >= 0 && rank < world_size,
               fmt::format("rank {} in a world of {} ranks", rank, world_size));
  SOUP_REQUIRE(!wanted.empty(), "a topology for no group size");
  const auto [least, most] = std::ranges::minmax(wanted);
  if (least < 1) {
    throw ConfigError(fmt::format("a group of {} ranks, but a group has at least 1 rank", least));
  }
  Topology topology;
  topology.world_size = world_size;
  topology.rank = rank;
  if (world_size == 1) {
    topology.group_sizes = {1};
  } else if (least == most) {
    topology.group_sizes = equal_groups(world_size, least);
  } else {
    topology.group_sizes = mixed_groups(world_size, {wanted.begin(), wanted.end()});
  }
  while (topology.first_rank(topology.group) + topology.group_sizes[static_cast<std::size_t>(topology.group)] <= rank) {
    ++topology.group;
  }
  topology.rank_in_group = rank - topology.first_rank(topology.group);
  return topology;
}

int Topology::first_rank(int of_group) const {
  SOUP_REQUIRE(of_group >= 0 && of_group < groups(), fmt::format("group {} of {} groups", of_group, groups()));
  return std::reduce(group_sizes.begin(), group_sizes.begin() + of_group);
}

std::string Topology::describe() const {
  // Hundreds of groups are shown by their number alone.
  constexpr int most_shown = 16;
  std::string text = fmt::format("{} {} in {} {}", world_size, world_size == 1 ? "rank" : "ranks", groups(),
                                 groups() == 1 ? "group" : "groups");
  for (int g = 0; g < std::min(groups(), most_shown); ++g) {
    text += (g == 0 ? ": " : ", ") + ranks_text(*this, g);
  }
  return text + (groups() > most_shown ? ", ..." : "");
}

std::string ranks_text(const Topology& topology, int group) {
  const int first = topology.first_rank(group);
  const int size = topology.group_sizes[static_cast<std::size_t>(group)];
  return size == 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, first + size - 1);
}

}  // namespace soup
