// More shards than groups: who takes what, and what it costs.
#include "launch/schedule.hpp"

#include <gmock/gmock.h>

#include <random>

#include "core/error.hpp"

namespace soup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Schedule, LongestFirstEqualsAsTheyCome) {
  const std::vector<Work> work = {{"a", 10, 1}, {"b", 30, 1}, {"c", 10, 1}, {"d", 60, 3}};
  EXPECT_THAT(order_of_work(work), ElementsAre(1, 3, 0, 2));  // d takes 20 on its three ranks
}

TEST(Schedule, AGroupFirstTakesWhatWantsItsSize) {
  const std::vector<Work> work = {{"a", 10, 1}, {"b", 30, 1}, {"c", 10, 4}, {"d", 80, 4}};
  EXPECT_THAT(order_for_group(work, 1), ElementsAre(1, 0, 3, 2));
  EXPECT_THAT(order_for_group(work, 4), ElementsAre(3, 2, 1, 0));
  EXPECT_THAT(order_for_group(work, 2), ElementsAre(1, 3, 0, 2));
}

TEST(Schedule, AFreeGroupTakesTheNext) {
  const std::vector<Work> work = {{"a", 40, 1}, {"b", 30, 1}, {"c", 20, 1}, {"d", 10, 1}};
  const Schedule schedule = make_schedule(std::vector{1, 1}, work);
  ASSERT_EQ(schedule.turns.size(), 4U);
  EXPECT_EQ(schedule.turns[0].work, 0U);
  EXPECT_EQ(schedule.turns[2].work, 2U);  // by the group that had b
  EXPECT_EQ(schedule.turns[2].group, 1);
  EXPECT_EQ(schedule.turns[2].start, 30.0);
  EXPECT_EQ(schedule.makespan, 50.0);
  EXPECT_EQ(schedule.idle_share, 0.0);
}

TEST(Schedule, RanksOfAGroupShareTheWork) {
  const Schedule schedule = make_schedule(std::vector{4, 1}, std::vector<Work>{{"big", 80, 4}, {"small", 10, 1}});
  EXPECT_EQ(schedule.makespan, 20.0);
  EXPECT_DOUBLE_EQ(schedule.idle_share, 0.1);  // one of five ranks for half of the time
}

TEST(Schedule, NothingToDoTakesNoTime) {
  const Schedule schedule = make_schedule(std::vector{2, 2}, {});
  EXPECT_TRUE(schedule.turns.empty());
  EXPECT_EQ(schedule.makespan, 0.0);
  EXPECT_EQ(schedule.idle_share, 0.0);
  EXPECT_THROW(make_schedule({}, {}), InvariantError);
}

// Graham's bound for any list scheduling, with all work done once and no group at two things at a time.
TEST(Schedule, IsNeverTwiceAsLongAsTheBest) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Work> work;
    double sum = 0.0;
    double longest = 0.0;
    for (std::size_t i = 0; i < random() % 30; ++i) {
      work.push_back({"w", static_cast<double>(1 + random() % 100), 1});
      sum += work.back().rank_seconds;
      longest = std::max(longest, work.back().rank_seconds);
    }
    const std::vector<int> groups(1 + random() % 8, 1);
    const Schedule schedule = make_schedule(groups, work);
    std::vector<double> free_at(groups.size(), 0.0);
    std::vector<int> done(work.size(), 0);
    for (const Turn& turn : schedule.turns) {
      EXPECT_GE(turn.start, free_at[static_cast<std::size_t>(turn.group)]);
      free_at[static_cast<std::size_t>(turn.group)] = turn.end;
      ++done[turn.work];
    }
    EXPECT_THAT(done, testing::Each(1));
    const double bound = std::max(longest, sum / static_cast<double>(groups.size()));
    EXPECT_LE(schedule.makespan, 4.0 / 3.0 * bound + longest);
    EXPECT_GE(schedule.makespan + 1e-9, bound);
  }
}

TEST(Schedule, IsShownAsATable) {
  const std::vector<Work> work = {{"oxygen", 80, 2}, {"tango", 30, 1}};
  const Topology topology = Topology::make(3, 0, std::vector{2, 1});
  const std::string text = describe(make_schedule(topology.group_sizes, work), topology, work);
  EXPECT_THAT(text, HasSubstr("oxygen  0-1"));
  EXPECT_THAT(text, HasSubstr("tango   2"));
  EXPECT_THAT(text, HasSubstr("40 s together, ranks idle 8.3 % of it"));
}

}  // namespace
}  // namespace soup
