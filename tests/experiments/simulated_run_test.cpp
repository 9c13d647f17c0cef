// What `soup plan --simulate` plays: the plan's ingredients, with their checkpoints, and what it prints of them.
#include "experiments/simulated_run.hpp"

#include <gmock/gmock.h>

#include "core/error.hpp"
#include "tests/experiments/yaml_text.hpp"
#include "tests/support/temporary_folder.hpp"

namespace soup {
namespace {

using testing::HasSubstr;

class SimulatedRunTest : public testing::Test {
 protected:
  Experiment load(std::vector<std::string> overrides = {}) {
    overrides.push_back("run_folder=" + (folder_.path() / "run").string());
    return test::load(folder_.path(), test::small_yaml, overrides);
  }
  test::TemporaryFolder folder_;
};

TEST_F(SimulatedRunTest, WorkIsThePlansIngredientsAndTheirCheckpoints) {
  const Experiment experiment = load({"data.shards[1].images=64", "ingredients.checkpoint_images=16"});
  const Plan plan = make_plan(experiment, 2, {});
  SimulationOptions options;
  options.images_per_second = 8.0;
  const std::vector<SimulatedWork> work = simulated_work(plan, experiment, options);
  ASSERT_EQ(work.size(), 2U);
  EXPECT_EQ(work[0].work.name, "one");
  EXPECT_DOUBLE_EQ(work[0].work.rank_seconds, 4.0);
  EXPECT_DOUBLE_EQ(work[1].work.rank_seconds, 8.0);
  EXPECT_DOUBLE_EQ(work[1].checkpoint_rank_seconds, 2.0);
  // By the plan's own time: without failures the plan's schedule.
  options.images_per_second = 0.0;
  const SimulatedRun run =
      simulate(plan.topology->group_sizes, simulated_work(plan, experiment, options), {}, JobShape::world);
  EXPECT_NEAR(run.makespan, plan.schedule.makespan, 1e-9);
}

TEST_F(SimulatedRunTest, TheTableTellsWithoutAndWithFailures) {
  const Experiment experiment = load({"data.shards[1].images=64", "ingredients.checkpoint_images=16"});
  const Plan plan = make_plan(experiment, 2, {});
  SimulationOptions options;
  options.images_per_second = 0.05;  // 640 and 1280 s, a checkpoint every 320 s
  options.failures = {.per_hour = 0.0, .planned = {{1000.0, 1}}, .restart_seconds = 50.0};
  options.repeats = 1;
  const std::string text = simulation_text(plan, experiment, options);
  // Shard two on rank 0 is hit by rank 1's failure only as part of one job: from 1000 s back to 960 s.
  EXPECT_THAT(text, testing::ContainsRegex("without failures +21\\.333 +0\\.00"));
  EXPECT_THAT(text, testing::ContainsRegex("one MPI job +22\\.833 +0\\.67"));
  EXPECT_THAT(text, testing::ContainsRegex("a job per shard +21\\.333 +0\\.00"));
}

TEST_F(SimulatedRunTest, WhatCannotBePlayedIsRefused) {
  const Experiment wide = load({"launch.ranks_per_group=2"});
  EXPECT_THROW(simulation_text(make_plan(wide, 3, {}), wide, {}), ConfigError);
}

}  // namespace
}  // namespace soup
