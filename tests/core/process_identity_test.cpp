#include "core/process_identity.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>

namespace soup {
namespace {

std::string job_in(const std::map<std::string, std::string>& environment) {
  return job_name([&environment](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(ProcessIdentity, JobsAreNamedAsTheirSchedulersCommandsTakeThem) {
  EXPECT_EQ(job_in({}), "");
  EXPECT_EQ(job_in({{"SLURM_JOB_ID", "12"}}), "12");
  EXPECT_EQ(job_in({{"SLURM_JOB_ID", "17"}, {"SLURM_ARRAY_JOB_ID", "12"}, {"SLURM_ARRAY_TASK_ID", "5"}}), "12_5");
  EXPECT_EQ(job_in({{"PBS_JOBID", "12[3].server"}}), "12[3].server");
  EXPECT_EQ(job_in({{"SOUP_JOB", "icons-base"}}), "icons-base");
}

TEST(ProcessIdentity, OfThisProcess) {
  const ProcessIdentity process = this_process();
  EXPECT_EQ(process.pid, ::getpid());
  EXPECT_EQ(process.host, host_name());
  EXPECT_FALSE(process.host.empty());
}

TEST(ProcessIdentity, IsDescribedFromItsJsonAndFromAnythingElse) {
  EXPECT_EQ(describe_process(to_json({"node3", 4711, "1234_5"})), "process 4711 on node3, job 1234_5");
  EXPECT_EQ(describe_process(to_json({"node3", 4711})), "process 4711 on node3");
  EXPECT_FALSE(to_json({"node3", 4711}).contains("job"));
  for (const char* text : {"3", "null", "{}", R"({"host": 3, "pid": 4})", R"({"host": "a", "pid": "b"})", "[]"}) {
    EXPECT_EQ(describe_process(nlohmann::json::parse(text)), "an unknown process") << text;
  }
}

}  // namespace
}  // namespace soup
