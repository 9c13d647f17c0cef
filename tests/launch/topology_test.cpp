// Ranks to groups to shards: tables, the rule that every shard is trained exactly once, refusals.
#include "launch/topology.hpp"

#include <gmock/gmock.h>

#include "core/error.hpp"

namespace soup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(Topology, CutsRanksIntoConsecutiveGroups) {
  const Topology topology = Topology::make(6, 4, 2);
  EXPECT_EQ(topology.groups, 3);
  EXPECT_EQ(topology.group, 2);
  EXPECT_EQ(topology.rank_in_group, 0);
  EXPECT_THAT(topology.shards_of(0, 7), ElementsAre(0, 3, 6));
  EXPECT_THAT(topology.shards_of(1, 7), ElementsAre(1, 4));
  EXPECT_THAT(topology.shards_of(2, 7), ElementsAre(2, 5));
  EXPECT_EQ(topology.waves(7), 3u);
}

TEST(Topology, OneRankAloneIsAGroupOfItsOwn) {
  const Topology topology = Topology::make(1, 0, 8);
  EXPECT_EQ(topology.ranks_per_group, 1);
  EXPECT_EQ(topology.groups, 1);
  EXPECT_THAT(topology.shards_of(0, 3), ElementsAre(0, 1, 2));
}

TEST(Topology, EveryShardIsTrainedOnceInItsWave) {
  for (int per_group = 1; per_group <= 4; ++per_group) {
    for (int groups = 1; groups <= 5; ++groups) {
      for (std::size_t shards = 0; shards <= 13; ++shards) {
        const Topology topology = Topology::make(per_group * groups, per_group * groups - 1, per_group);
        std::vector<int> trained(shards, 0);
        for (int group = 0; group < topology.groups; ++group) {
          const std::vector<std::size_t> mine = topology.shards_of(group, shards);
          EXPECT_LE(mine.size(), topology.waves(shards));
          for (const std::size_t shard : mine) {
            ++trained.at(shard);
          }
        }
        EXPECT_THAT(trained, testing::Each(1)) << per_group << " x " << groups << ", " << shards << " shards";
      }
    }
  }
}

TEST(Topology, EveryRankFindsItself) {
  for (int rank = 0; rank < 12; ++rank) {
    const Topology topology = Topology::make(12, rank, 3);
    EXPECT_EQ(topology.group * 3 + topology.rank_in_group, rank);
  }
}

TEST(Topology, RefusesRanksThatLeaveARestNamingTheNumbers) {
  try {
    Topology::make(5, 0, 2);
    FAIL() << "5 ranks in groups of 2";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("5 ranks cannot be cut into groups of 2"));
    EXPECT_THAT(error.what(), HasSubstr("1 would be left over"));
    EXPECT_THAT(error.what(), HasSubstr("for instance 6"));
  }
  EXPECT_THROW(Topology::make(2, 0, 4), ConfigError);
  EXPECT_THROW(Topology::make(4, 0, 0), ConfigError);
  EXPECT_THROW(Topology::make(4, 0, -1), ConfigError);
  EXPECT_THROW(Topology::make(4, 4, 1), InvariantError);
  EXPECT_THROW(static_cast<void>(Topology::make(4, 0, 2).shards_of(2, 4)), InvariantError);
}

TEST(Topology, DescribesIdleGroupsAndRanks) {
  const std::string text = Topology::make(6, 0, 2).describe({"oxygen", "tango", "papirus", "breeze"});
  EXPECT_THAT(text, HasSubstr("6 ranks in 3 groups of 2; 4 shards in 2 waves"));
  EXPECT_THAT(text, HasSubstr("    0      1  2-3          tango"));
  EXPECT_THAT(text, HasSubstr("    1      0  0-1          breeze"));
  EXPECT_THAT(text, HasSubstr("    1      2  4-5          (idle)"));
  EXPECT_THAT(Topology::make(2, 0, 1).describe({"a", "b"}), Not(HasSubstr("idle")));
}

}  // namespace
}  // namespace soup
