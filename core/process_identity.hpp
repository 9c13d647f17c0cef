// Which process on which host, and of which job of a cluster: what locks, logs and reports of failures name.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace soup {

struct ProcessIdentity {
  std::string host;
  int pid = 0;
  std::string job = {};  // as the scheduler's commands take it: "1234", "1234_5" of a job array; "" outside one
};

// The name of this machine.
std::string host_name();
// Slurm's, PBS's or Kubernetes' name of the job in this environment (std::getenv, or a table in tests), or "".
std::string job_name(const std::function<const char*(const char*)>& get);
ProcessIdentity this_process();

// {"host": ..., "pid": ..., "job": ...}, without a job where there is none.
nlohmann::ordered_json to_json(const ProcessIdentity& process);
// "process 4711 on node3, job 1234_5" of such an object; "an unknown process" of anything else.
std::string describe_process(const nlohmann::json& process);

}  // namespace soup
