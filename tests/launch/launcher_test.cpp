// Which environments start MPI, and that a process alone is one rank without it.
#include <gmock/gmock.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "launch/mpi_runtime.hpp"

namespace soup {
namespace {

Launcher detect(const std::map<std::string, std::string>& environment) {
  return detect_launcher([&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(Launcher, KnowsItsStarters) {
  EXPECT_FALSE(detect({}).mpi);
  EXPECT_FALSE(detect({{"SLURM_PROCID", "0"}, {"SLURM_JOB_ID", "7"}}).mpi) << "an sbatch script runs once";
  EXPECT_TRUE(detect({{"OMPI_COMM_WORLD_SIZE", "4"}}).mpi);
  EXPECT_TRUE(detect({{"PMIX_RANK", "0"}, {"SLURM_PROCID", "0"}}).mpi);
  EXPECT_TRUE(detect({{"PMI_RANK", "1"}}).mpi);
  EXPECT_EQ(detect({{"PMI_RANK", "1"}}).name, "PMI_RANK");
}

TEST(Launcher, CountsTheTasksOfAnSrunStep) {
  EXPECT_EQ(detect({{"SLURM_PROCID", "2"}, {"SLURM_STEP_NUM_TASKS", "4"}}).srun_tasks, 4);
  EXPECT_EQ(detect({{"SLURM_STEP_NUM_TASKS", "4"}}).srun_tasks, 1);
  EXPECT_EQ(detect({{"SLURM_PROCID", "2"}, {"SLURM_STEP_NUM_TASKS", "many"}}).srun_tasks, 1);
}

TEST(Launcher, LeavesNoTraceInAnEnvironmentWithoutIt) {
  const std::vector<std::string> environment{
      "PATH=/bin",  "OMPI_COMM_WORLD_SIZE=4", "OMPI_ALLOW_RUN_AS_ROOT=1", "PMIX_RANK=0",
      "PMI_RANK=1", "SLURM_PROCID=2",         "SLURM_STEP_NUM_TASKS=4",   "SLURM_JOB_ID=7"};
  EXPECT_THAT(without_launcher(environment),
              testing::ElementsAre("PATH=/bin", "OMPI_ALLOW_RUN_AS_ROOT=1", "SLURM_JOB_ID=7"));
}

class AloneTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
      unsetenv(name);
    }
  }
  int argc_ = 0;
  char** argv_ = nullptr;
};

TEST_F(AloneTest, IsOneRankWithoutMpi) {
  MpiRuntime runtime(argc_, argv_);
  EXPECT_FALSE(runtime.launched());
  EXPECT_EQ(runtime.world()->backend(), "self");
  EXPECT_EQ(runtime.world()->size(), 1);
  EXPECT_EQ(runtime.local_rank(), 0);
  EXPECT_EQ(runtime.local_size(), 1);
}

TEST_F(AloneTest, RunTurnsErrorsIntoExitCodes) {
  MpiRuntime runtime(argc_, argv_);
  EXPECT_EQ(runtime.run([] { return 0; }), 0);
  EXPECT_EQ(runtime.run([] { return 2; }), 2);
  testing::internal::CaptureStderr();
  EXPECT_EQ(runtime.run([]() -> int { throw DataError("/a/b", "broken", "mend it"); }), 3);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "soup: error: /a/b: broken\n  hint: mend it\n");
  EXPECT_EQ(runtime.run([]() -> int { throw Interrupted("stopped"); }), 75);
  EXPECT_EQ(runtime.run([]() -> int { throw std::bad_alloc(); }), 70);
}

TEST_F(AloneTest, RefusesSrunTasksThatDoNotKnowEachOther) {
  setenv("SLURM_PROCID", "1", 1);
  setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  EXPECT_THROW(MpiRuntime(argc_, argv_), ConfigError);
  unsetenv("SLURM_PROCID");
  unsetenv("SLURM_STEP_NUM_TASKS");
}

}  // namespace
}  // namespace soup
