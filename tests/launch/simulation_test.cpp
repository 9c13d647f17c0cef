// Simulated runs: without failures the schedule; with failures at known moments what arithmetic says; at random ones
// what theory says.
#include "launch/simulation.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.hpp"

namespace soup {
namespace {

SimulatedWork work(const std::string& name, double rank_seconds, int ranks = 1, double checkpoint = 0.0) {
  return {{name, rank_seconds, ranks}, checkpoint};
}

TEST(Simulation, WithoutFailuresIsTheSchedule) {
  const std::vector<int> groups = {4, 2, 1, 1};
  std::vector<SimulatedWork> items;
  std::vector<Work> plain;
  for (int i = 0; i < 23; ++i) {
    items.push_back(work("shard" + std::to_string(i), 10.0 + (i * 37) % 50, i % 3 == 0 ? 4 : 1));
    plain.push_back(items.back().work);
  }
  const Schedule schedule = make_schedule(groups, plain);
  for (const JobShape shape : {JobShape::world, JobShape::per_shard}) {
    const SimulatedRun run = simulate(groups, items, {}, shape);
    EXPECT_NEAR(run.makespan, schedule.makespan, 1e-9);
    EXPECT_NEAR(run.idle_share, schedule.idle_share, 1e-9);
    EXPECT_EQ(run.failures, 0U);
    EXPECT_EQ(run.lost_rank_seconds, 0.0);
  }
}

TEST(Simulation, AFailureCostsWhatWasDoneSinceTheCheckpointAndTheRestart) {
  const std::vector<int> groups = {2, 2};
  // 100 s on two ranks each, a checkpoint every 30 s.
  const std::vector<SimulatedWork> items = {work("a", 200.0, 2, 60.0), work("b", 200.0, 2, 60.0)};
  const Failures failures{.planned = {{75.0, 3}}, .restart_seconds = 10.0};
  // Rank 3 is in the second group: back from 75 s to 60 s, and 10 s later on again.
  const SimulatedRun apart = simulate(groups, items, failures, JobShape::per_shard);
  EXPECT_NEAR(apart.makespan, 75.0 + 10.0 + 40.0, 1e-9);
  EXPECT_NEAR(apart.lost_rank_seconds, 2 * 15.0, 1e-9);
  EXPECT_NEAR(apart.idle_share, (2 * 10.0 + 2 * 25.0) / (4 * 125.0), 1e-9);
  const SimulatedRun together = simulate(groups, items, failures, JobShape::world);
  EXPECT_NEAR(together.makespan, 125.0, 1e-9);
  EXPECT_NEAR(together.lost_rank_seconds, 4 * 15.0, 1e-9);
  EXPECT_EQ(together.failures, 1U);
}

TEST(Simulation, WithoutCheckpointsAllIsLost) {
  const SimulatedRun run = simulate(std::vector<int>{1}, std::vector<SimulatedWork>{work("a", 100.0)},
                                    {.planned = {{99.0, 0}, {99.5, 0}}, .restart_seconds = 1.0}, JobShape::per_shard);
  // The second failure meets the restart, which begins anew.
  EXPECT_NEAR(run.makespan, 99.5 + 1.0 + 100.0, 1e-9);
  EXPECT_NEAR(run.lost_rank_seconds, 99.0, 1e-9);
  EXPECT_EQ(run.failures, 2U);
}

TEST(Simulation, AFailureWhereNoJobRunsEndsNone) {
  const std::vector<int> groups = {1, 1};
  const std::vector<SimulatedWork> items = {work("long", 100.0, 1, 10.0), work("short", 10.0, 1, 10.0)};
  const SimulatedRun run =
      simulate(groups, items, {.planned = {{50.0, 1}}, .restart_seconds = 5.0}, JobShape::per_shard);
  EXPECT_NEAR(run.makespan, 100.0, 1e-9);
  EXPECT_EQ(run.lost_rank_seconds, 0.0);
}

TEST(Simulation, AWorldGoesOnWithTheShardsThatAreLeft) {
  const std::vector<SimulatedWork> items = {work("a", 30.0, 1, 1.0), work("b", 20.0, 1, 1.0), work("c", 10.0, 1, 1.0)};
  // At 25 s a is at 25, b is done, c at 5; then a needs 5 and c 5 more.
  const SimulatedRun run =
      simulate(std::vector<int>{1, 1}, items, {.planned = {{25.0, 0}}, .restart_seconds = 2.0}, JobShape::world);
  EXPECT_NEAR(run.makespan, 25.0 + 2.0 + 5.0, 1e-9);
  EXPECT_EQ(run.lost_rank_seconds, 0.0);
}

// One group that works for T with a checkpoint every c: failures at rate r lose about c / 2 each.
TEST(Simulation, RandomFailuresCostWhatTheoryExpects) {
  const std::vector<SimulatedWork> items = {work("a", 100.0 * 3600.0, 1, 600.0)};
  const Failures failures{.per_hour = 0.5, .restart_seconds = 60.0, .seed = 3};
  const SimulatedRuns runs = simulate_often(std::vector<int>{1}, items, failures, JobShape::per_shard, 400);
  // Time goes on while lost work is done again, so that there are as many failures as the makespan has.
  EXPECT_NEAR(runs.failures.mean, runs.makespan.mean / 3600.0 * 0.5, 5 * runs.failures.error);
  EXPECT_GT(runs.failures.error, 0.0);
  const double lost_per_failure = runs.lost_rank_seconds.mean / runs.failures.mean;
  EXPECT_NEAR(lost_per_failure, 300.0, 15.0);
  EXPECT_NEAR(runs.makespan.mean, 100.0 * 3600.0 + runs.lost_rank_seconds.mean + 60.0 * runs.failures.mean,
              5 * runs.makespan.error);
  const SimulatedRuns again = simulate_often(std::vector<int>{1}, items, failures, JobShape::per_shard, 400);
  EXPECT_EQ(again.makespan.mean, runs.makespan.mean);
}

TEST(Simulation, ARunThatCannotGetOnIsRefused) {
  const std::vector<SimulatedWork> items = {work("a", 1000.0)};
  const Failures failures{.per_hour = 3600.0, .restart_seconds = 1.0};
  EXPECT_THROW(static_cast<void>(simulate(std::vector<int>{1}, items, failures, JobShape::per_shard)), ConfigError);
  EXPECT_THROW(static_cast<void>(simulate(std::vector<int>{}, items, {}, JobShape::world)), InvariantError);
}

}  // namespace
}  // namespace soup
