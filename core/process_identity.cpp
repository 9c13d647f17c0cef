// Which process on which host, and of which job of a cluster.
#include "core/process_identity.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace soup {

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) {
    return "unknown host";
  }
  return name.data();
}

std::string job_name(const std::function<const char*(const char*)>& get) {
  // An element of a Slurm array has a number of its own too, but people and squeue know it by the array's.
  const char* array = get("SLURM_ARRAY_JOB_ID");
  const char* element = get("SLURM_ARRAY_TASK_ID");
  if (array != nullptr && element != nullptr) {
    return fmt::format("{}_{}", array, element);
  }
  for (const char* variable : {"SLURM_JOB_ID", "PBS_JOBID", "SOUP_JOB"}) {
    if (const char* job = get(variable); job != nullptr) {
      return job;
    }
  }
  return {};
}

ProcessIdentity this_process() {
  return {.host = host_name(), .pid = ::getpid(), .job = job_name([](const char* name) { return std::getenv(name); })};
}

nlohmann::ordered_json to_json(const ProcessIdentity& process) {
  nlohmann::ordered_json json = {{"host", process.host}, {"pid", process.pid}};
  if (!process.job.empty()) {
    json["job"] = process.job;
  }
  return json;
}

std::string describe_process(const nlohmann::json& process) {
  if (!process.is_object() || !process.contains("host") || !process.contains("pid") || !process["host"].is_string() ||
      !process["pid"].is_number_integer()) {
    return "an unknown process";
  }
  std::string text =
      fmt::format("process {} on {}", process["pid"].get<std::int64_t>(), process["host"].get<std::string>());
  if (process.contains("job") && process["job"].is_string()) {
    text += ", job " + process["job"].get<std::string>();
  }
  return text;
}

}  // namespace soup
