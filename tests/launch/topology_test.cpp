// Ranks to groups: tables, the rule that every rank is in one group, refusals.
#include "launch/topology.hpp"

#include <gmock/gmock.h>

#include <numeric>

#include "core/error.hpp"

namespace soup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int> groups_of(int world, const std::vector<int>& wanted) {
  return Topology::make(world, 0, wanted).group_sizes;
}

TEST(Topology, CutsRanksIntoConsecutiveGroups) {
  const Topology topology = Topology::make(6, 4, std::vector{2, 2, 2, 2});
  EXPECT_EQ(topology.groups(), 3);
  EXPECT_EQ(topology.group, 2);
  EXPECT_EQ(topology.rank_in_group, 0);
  EXPECT_EQ(topology.first_rank(1), 2);
  EXPECT_EQ(topology.describe(), "6 ranks in 3 groups: 0-1, 2-3, 4-5");
}

TEST(Topology, OneRankAloneIsAGroupOfItsOwn) {
  EXPECT_THAT(groups_of(1, {8}), ElementsAre(1));
  EXPECT_THAT(groups_of(1, {8, 4}), ElementsAre(1));
  EXPECT_EQ(Topology::make(1, 0, std::vector{8}).describe(), "1 rank in 1 group: 0");
}

TEST(Topology, MixedSizesAreServedFromTheLargestAndAgain) {
  EXPECT_THAT(groups_of(8, {2, 4, 2}), ElementsAre(4, 2, 2));
  EXPECT_THAT(groups_of(6, {2, 4, 2}), ElementsAre(4, 2));
  EXPECT_THAT(groups_of(12, {2, 4, 2}), ElementsAre(4, 4, 2, 2));  // and the largest once more
  EXPECT_THAT(groups_of(3, {1, 4}), ElementsAre(1, 1, 1));         // no room for the largest
  EXPECT_THAT(groups_of(7, {1, 3}), ElementsAre(3, 3, 1));
  EXPECT_THAT(groups_of(16, {16, 1}), ElementsAre(16));
}

TEST(Topology, EveryRankFindsItself) {
  for (const std::vector<int>& wanted : {std::vector<int>{3}, {1, 2, 3}, {4, 1}, {6, 5, 1}}) {
    for (int world = 12; world <= 24; world += 12) {
      int next = 0;
      for (int rank = 0; rank < world; ++rank) {
        const Topology topology = Topology::make(world, rank, wanted);
        EXPECT_EQ(std::reduce(topology.group_sizes.begin(), topology.group_sizes.end()), world);
        EXPECT_EQ(topology.first_rank(topology.group) + topology.rank_in_group, rank);
        EXPECT_LT(topology.rank_in_group, topology.group_sizes[static_cast<std::size_t>(topology.group)]);
        EXPECT_EQ(topology.rank_in_group == 0 ? next : topology.group + 1,
                  topology.group + (topology.rank_in_group != 0));
        next += topology.rank_in_group + 1 == topology.group_sizes[static_cast<std::size_t>(topology.group)] ? 1 : 0;
      }
    }
  }
}

std::string refusal(int world, const std::vector<int>& wanted) {
  try {
    Topology::make(world, 0, wanted);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Topology, RefusesRanksThatLeaveARestNamingTheNumbers) {
  EXPECT_THAT(refusal(5, {2}), testing::AllOf(HasSubstr("5 ranks cannot be cut into groups of 2"),
                                              HasSubstr("1 would be left over"), HasSubstr("for instance 6")));
  EXPECT_THAT(refusal(2, {4}), HasSubstr("2 ranks cannot be cut into groups of 4"));
  EXPECT_THAT(refusal(9, {4, 2}), testing::AllOf(HasSubstr("9 ranks cannot be cut into groups of 4, 2 ranks"),
                                                 HasSubstr("1 would be left over"),
                                                 HasSubstr("start 8 ranks, or 6 for a group per shard")));
  EXPECT_THAT(refusal(4, {0}), HasSubstr("a group of 0 ranks"));
  EXPECT_THAT(refusal(4, {2, -1}), HasSubstr("a group of -1 ranks"));
  EXPECT_THROW(Topology::make(4, 4, std::vector{1}), InvariantError);
  EXPECT_THROW(Topology::make(4, 0, std::vector<int>{}), InvariantError);
  EXPECT_THROW(static_cast<void>(Topology::make(4, 0, std::vector{2}).first_rank(2)), InvariantError);
}

TEST(Topology, HundredsOfGroupsAreNotListed) {
  const std::string text = Topology::make(512, 0, std::vector{1}).describe();
  EXPECT_THAT(text, testing::StartsWith("512 ranks in 512 groups: 0, 1, 2"));
  EXPECT_THAT(text, testing::EndsWith("15, ..."));
}

}  // namespace
}  // namespace soup
